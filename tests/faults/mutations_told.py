"""I6: outages and states of cameras in the index against what was told of them."""

from faults.estate import CAMERA, LONG_OUTAGE, Estate
from faults.mutation import Mutation
from recording_support import SECOND, T0


def outage_gone(at: Estate) -> None:
    at.sql("DELETE FROM recording_outages WHERE camera = ?", CAMERA)


def outage_cause(at: Estate) -> None:
    at.sql("UPDATE recording_outages SET cause = 1 WHERE camera = ?", CAMERA)


def outage_half(at: Estate) -> None:
    at.sql(
        "DELETE FROM recording_outages WHERE outage = ? AND piece_us > start_us - 1 AND"
        " piece_us = (SELECT MAX(piece_us) FROM recording_outages WHERE outage = ?)",
        LONG_OUTAGE, LONG_OUTAGE,
    )  # fmt: skip


def outage_pieces_swapped(at: Estate) -> None:
    first, second = (
        row[0]
        for row in at.sql(
            "SELECT piece_us FROM recording_outages WHERE outage = ? ORDER BY 1", LONG_OUTAGE
        )
    )
    move = "UPDATE recording_outages SET piece_us = ? WHERE outage = ? AND piece_us = ?"
    for here, there in ((first, -1), (second, first), (-1, second)):
        at.sql(move, there, LONG_OUTAGE, here)


def outage_of_nothing(at: Estate) -> None:
    at.sql(
        "INSERT INTO recording_outages VALUES ('made-up', ?, ?, ?, ?, 3, 'made up', 0)",
        T0 + 40 * SECOND, CAMERA, T0 + 40 * SECOND, T0 + 50 * SECOND,
    )  # fmt: skip


def state_gone(at: Estate) -> None:
    at.sql("DELETE FROM recording_camera_states WHERE camera = ? AND revision = 2", CAMERA)


def state_altered(at: Estate) -> None:
    at.sql("UPDATE recording_camera_states SET zone = 'zone-9' WHERE revision = 2")


def state_told_later(at: Estate) -> None:
    """As if it had been acted upon hours later: what it excuses would count as missing."""
    at.sql("UPDATE recording_camera_states SET told_us = told_us + 7200000000 WHERE revision = 2")


def state_half(at: Estate) -> None:
    at.sql("UPDATE recording_camera_states SET authorisations = '[[' WHERE revision = 2")


def state_of_nothing(at: Estate) -> None:
    at.sql(
        "INSERT INTO recording_camera_states SELECT camera, 9, effective_us + 1, 3, zone,"
        " authorisations, told_us FROM recording_camera_states WHERE revision = 2"
    )


MUTATIONS = [
    Mutation("I6", "missing", "an outage is removed", outage_gone,
             (("I6", "an outage that was told of is not in the index"),)),
    Mutation("I6", "altered", "an outage is given another cause", outage_cause,
             (("I6", "an outage in the index is not what was told"),)),
    Mutation("I6", "half", "half of a long outage is removed", outage_half,
             (("I6", "an outage in the index is not what was told"),)),
    Mutation("I6", "reordered", "the pieces of a long outage change places",
             outage_pieces_swapped, (("I6", "an outage in the index is not what was told"),)),
    Mutation("I6", "extra", "the index is given an outage that never was", outage_of_nothing,
             (("I6", "the index has an outage that was never told"),)),
    Mutation("I6", "missing", "the newest state of a camera is removed", state_gone,
             (("I6", "the state of a camera is not in the index"),)),
    Mutation("I6", "altered", "the newest state of a camera is altered", state_altered,
             (("I6", "the state of a camera is not in the index"),)),
    Mutation("I6", "altered", "when a state was told is altered", state_told_later,
             (("I6", "the state of a camera is not in the index"),)),
    Mutation("I6", "half", "the authorisations of a camera are half written", state_half,
             (("I6", "the state of a camera is not in the index"),)),
    Mutation("I6", "extra", "the index is given a state of a camera that never was",
             state_of_nothing, (("I6", "a state of a camera that was never told"),)),
]  # fmt: skip
