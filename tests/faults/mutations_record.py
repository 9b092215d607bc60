"""I4 and I5: holds and the access log."""

import json

from faults.estate import CAMERA, GONE, A, B, D, Estate
from faults.mutation import Mutation
from recording_support import DAY, SECOND, T0
from vigie.audit.v1 import events_pb2 as audit_pb2
from vigie.recording.fsck.holds import RATHER_KEEP
from vigie.recording.fsck.report import EVIDENCE

HELD = A.segments[0].key
ACCESS = "vigie.audit.v1.AccessRecord"


def _holds(at: Estate, key: str, holds: list[str]) -> None:
    record = json.loads(at.record(key).read_bytes())
    at.write(at.record(key), json.dumps(record | {"holds": holds}).encode())


def hold_taken_off(at: Estate) -> None:
    _holds(at, HELD, [])


def hold_of_nobody(at: Estate) -> None:
    _holds(at, B.segments[0].key, ["hold-9"])


def hold_left_on(at: Estate) -> None:
    _holds(at, B.segments[0].key, ["hold-2"])


def hold_row_gone(at: Estate) -> None:
    at.sql("DELETE FROM recording_holds WHERE hold = 'hold-1'")


def hold_all_gone(at: Estate) -> None:
    for table in ("holds", "hold_cameras", "hold_objects"):
        at.sql(f"DELETE FROM recording_{table} WHERE hold = 'hold-1'")


def hold_window(at: Estate) -> None:
    at.sql("UPDATE recording_holds SET end_us = start_us + 1 WHERE hold = 'hold-1'")


def hold_released(at: Estate) -> None:
    at.sql("UPDATE recording_holds SET released_us = ? WHERE hold = 'hold-1'", T0)


def hold_not_released(at: Estate) -> None:
    at.sql("UPDATE recording_holds SET released_us = NULL WHERE hold = 'hold-2'")


def hold_camera_gone(at: Estate) -> None:
    at.sql("DELETE FROM recording_hold_cameras WHERE hold = 'hold-1'")


def hold_camera_other(at: Estate) -> None:
    at.sql("UPDATE recording_hold_cameras SET camera = 'cam-b' WHERE hold = 'hold-1'")


def hold_object_gone(at: Estate) -> None:
    at.sql("DELETE FROM recording_hold_objects WHERE object_key = ?", HELD)


def hold_object_extra(at: Estate) -> None:
    at.sql("INSERT INTO recording_hold_objects VALUES (?, 'hold-1', 1, 1)", D.segments[0].key)


def hold_half(at: Estate) -> None:
    """The index notes that a hold is to be taken off that is in force."""
    at.sql("UPDATE recording_hold_objects SET state = 2 WHERE object_key = ?", HELD)


def hold_of_the_index_alone(at: Estate) -> None:
    at.sql(
        "INSERT INTO recording_holds SELECT 'hold-7', start_us, end_us, legal_reference,"
        " evidence_request, placed_by, placed_us, applied_us, NULL, ''"
        " FROM recording_holds WHERE hold = 'hold-1'"
    )


def hold_event_garbage(at: Estate) -> None:
    at.sql(
        "UPDATE eventlog_event SET value = ? WHERE topic = ? AND key = 'hold-1'",
        b"\xff" * 9, at.topic("holds"),
    )  # fmt: skip


def destroyed_under_hold(at: Estate) -> None:
    """A destruction that comes after its hold: told and registered as the product would."""
    at.sql(
        "UPDATE recording_destructions SET camera = ?, start_us = ?, end_us = ?, decided_us = ?"
        " WHERE object_key = ?",
        CAMERA, T0, T0 + SECOND, T0 + 90 * SECOND, GONE.segments[0].key,
    )  # fmt: skip


def access_gone(at: Estate) -> None:
    at.sql("DELETE FROM eventlog_event WHERE topic = ? AND id = '1-opened'", at.topic("accesses"))


def access_whole_gone(at: Estate) -> None:
    """Both records of an access go, so that those that are left agree with each other."""
    at.sql("DELETE FROM eventlog_event WHERE topic = ? AND id LIKE '1-%'", at.topic("accesses"))


def access_tail_gone(at: Estate) -> None:
    at.sql("DELETE FROM eventlog_event WHERE topic = ? AND id LIKE '2-%'", at.topic("accesses"))


def access_head_gone(at: Estate) -> None:
    at.sql("DELETE FROM eventlog_event WHERE topic = ? AND id LIKE '0-%'", at.topic("accesses"))


def access_log_empty(at: Estate) -> None:
    at.sql("DELETE FROM eventlog_event WHERE topic = ?", at.topic("accesses"))


def access_closed_alone(at: Estate) -> None:
    record = audit_pb2.AccessRecord(
        record="9-closed", request_id="request-9", phase=audit_pb2.ACCESS_PHASE_CLOSED,
        subject="anne@ville.example", decision=audit_pb2.DECISION_ALLOWED,
    )  # fmt: skip
    content = record.SerializeToString()
    at.append("accesses", "anne@ville.example", ACCESS, content, "9-closed")


def access_of_another(at: Estate) -> None:
    row = at.sql("SELECT value FROM eventlog_event WHERE id = '1-opened'")
    record = audit_pb2.AccessRecord.FromString(row[0][0])
    record.subject = "nobody@ville.example"
    at.sql("UPDATE eventlog_event SET value = ? WHERE id = '1-opened'", record.SerializeToString())


def access_refused_after_all(at: Estate) -> None:
    row = at.sql("SELECT value FROM eventlog_event WHERE id = '1-opened'")
    record = audit_pb2.AccessRecord.FromString(row[0][0])
    record.decision = audit_pb2.DECISION_REFUSED
    at.sql("UPDATE eventlog_event SET value = ? WHERE id = '1-opened'", record.SerializeToString())


def access_garbage(at: Estate) -> None:
    at.sql("UPDATE eventlog_event SET value = ? WHERE id = '1-opened'", b"\xff" * 5)


def access_reordered(at: Estate) -> None:
    topic = at.topic("accesses")
    opened, closed = (
        row[0]
        for row in at.sql(
            "SELECT \"offset\" FROM eventlog_event WHERE topic = ? AND id LIKE '1-%' ORDER BY 1",
            topic,
        )
    )
    move = 'UPDATE eventlog_event SET "offset" = ? WHERE topic = ? AND "offset" = ?'
    for here, there in ((opened, -1), (closed, opened), (-1, closed)):
        at.sql(move, there, topic, here)


UNHELD = ("I4", "footage under a hold is not held by the store")
OTHERWISE = ("I4", "a hold in the index is not what was told")
UNOPENED = ("I5", "without an access record before it")
HOLE = ("I5", "events are missing from a log")
MUTATIONS = [
    Mutation("I4", "missing", "a hold is taken off an object by hand", hold_taken_off, (UNHELD,)),
    Mutation("I4", "extra", "an object carries a hold that nobody knows", hold_of_nobody,
             (("I4", "a hold that nobody knows"),), RATHER_KEEP),
    Mutation("I4", "extra", "an object carries a hold that was released", hold_left_on,
             (("I4", "a hold that was released"),)),
    Mutation("I4", "missing", "the row of a hold is removed", hold_row_gone,
             (("I4", "a hold that was placed is not in the index"),)),
    Mutation("I4", "missing", "a hold is removed from the index, with all its rows",
             hold_all_gone, (("I4", "a hold that was placed is not in the index"),)),
    Mutation("I4", "altered", "the window of a hold is cut", hold_window, (OTHERWISE,)),
    Mutation("I4", "altered", "a hold is released by hand", hold_released, (OTHERWISE,)),
    Mutation("I4", "altered", "a hold that was released is in force again", hold_not_released,
             (("I4", "a hold that was released is still in the index"),)),
    Mutation("I4", "missing", "a hold loses its camera", hold_camera_gone, (OTHERWISE,)),
    Mutation("I4", "altered", "a hold is moved to another camera", hold_camera_other,
             (OTHERWISE,)),
    Mutation("I4", "missing", "the index forgets that an object is held", hold_object_gone,
             (("I4", "does not note that a hold is on an object"),)),
    Mutation("I4", "extra", "the index lets a hold take in another object", hold_object_extra,
             (("I4", "a hold takes in an object outside of its window"),)),
    Mutation("I4", "half", "the index is about to take a hold off that is in force", hold_half,
             (("I4", "does not note that a hold is on an object"),)),
    Mutation("I4", "extra", "the index is given a hold that nobody placed",
             hold_of_the_index_alone, (("I4", "a hold that was never told"),), RATHER_KEEP),
    Mutation("I4", "altered", "the event of a hold becomes garbage", hold_event_garbage,
             (("I4", "a hold cannot be read"),), EVIDENCE),
    Mutation("I4", "missing", "footage was destroyed after a hold was placed on it",
             destroyed_under_hold, (("I4", "destroyed although a hold was on it"),), EVIDENCE),
    Mutation("I5", "missing", "the opening record of an access is taken out", access_gone,
             (UNOPENED, HOLE), EVIDENCE),
    Mutation("I5", "missing", "an access is taken out, opening and closing", access_whole_gone,
             (HOLE,), EVIDENCE),
    Mutation("I5", "missing", "the newest accesses are taken out", access_tail_gone, (HOLE,),
             EVIDENCE),
    Mutation("I5", "missing", "the oldest accesses are taken out", access_head_gone, (HOLE,),
             EVIDENCE),
    Mutation("I5", "missing", "the access log is emptied", access_log_empty, (HOLE,), EVIDENCE),
    Mutation("I5", "extra", "an access is closed that was never opened", access_closed_alone,
             (UNOPENED,), EVIDENCE),
    Mutation("I5", "altered", "an access is put under another person's name", access_of_another,
             (("I5", "is not the one that was written"),), EVIDENCE),
    Mutation("I5", "altered", "an access is made a refused one afterwards",
             access_refused_after_all, (UNOPENED,), EVIDENCE),
    Mutation("I5", "altered", "an access record becomes garbage", access_garbage,
             (("I5", "an access record cannot be read"),), EVIDENCE),
    Mutation("I5", "reordered", "an access is closed before it was opened", access_reordered,
             (UNOPENED,), EVIDENCE),
]  # fmt: skip
del DAY
