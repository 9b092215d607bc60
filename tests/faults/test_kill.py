"""`kill -9` of the whole product at every step of the write path, and at any moment.

One installation is killed again and again, and looked at after each time and at the end. The
bounded form draws the steps; the long form goes through all of them.
"""

import random
from collections.abc import AsyncIterator
from typing import Final

import pytest
import pytest_asyncio

from e2e import estate, proof
from e2e.harness import DEPLOYMENTS, Installation, simulated_cameras
from faults.conftest import LONG
from faults.kill_house import CAMERAS, KEPT, House
from faults.ledger import Entry, Ledger
from vigie.faultpoints import FAULT_POINTS
from vigie.simcam import ServerConfig

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(7200 if LONG else 900),
]
DRAWN: Final = 3
RANDOM_MOMENTS: Final = 15 if LONG else 1
_RARE: Final = (
    "ingest.run.", "ingest.end.", "retention.", "store.delete.", "store.describe.", "holds.",
    "evidence.",
)  # fmt: skip
"""Points that are passed once for what leads to them."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(
    tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> AsyncIterator[House]:
    folder = tmp_path_factory.mktemp("killed")
    cache = getattr(pytestconfig, "cache", None)  # its plugin may be off
    footage = cache.mkdir("simulated-footage") if cache is not None else folder / "footage"
    config = ServerConfig(cameras=CAMERAS, port_per_camera=True, cache_folder=footage)
    fault_file = folder / "fault"
    vigie = Installation(
        DEPLOYMENTS["one-process"],
        folder / "vigie",
        estate.PEOPLE,
        {
            "debug": {"fault_points": "true"},
            "recording": {"retention_interval_seconds": "86400"},
        },
        {"VIGIE_FAULT": f"@{fault_file}"},
    )
    async with simulated_cameras(config, folder / "cameras") as simulator:
        await vigie.start()
        try:
            house = House(vigie, simulator, fault_file)
            await house.move_in()
            yield house
        finally:
            fault_file.unlink(missing_ok=True)
            await vigie.stop()


async def test_nothing_is_lost_or_doubled_by_kills(
    house: House, chance: random.Random, ledger: Ledger
) -> None:
    points = sorted(FAULT_POINTS)
    chance.shuffle(points)
    for point in points if LONG else points[:DRAWN]:
        visit = 1 if point.startswith(_RARE) else chance.randint(1, 3)
        await house.kill_at(point, visit)
    for _ in range(RANDOM_MOMENTS):
        await house.kill_after(chance.uniform(0, 3))
    await the_whole_is_sound(house)
    note(house, ledger)


async def the_whole_is_sound(house: House) -> None:
    """From the first kill to the last: played, listed, and in the bucket, nothing twice."""
    vigie = house.vigie
    for camera in KEPT:
        count = await house.frames_are_there_or_in_a_gap(camera, house.begun_us, house.settled_us)
        assert count > 0
    assert set((await vigie.stop()).values()) == {0}
    assert not vigie.spooled()
    for camera in KEPT:
        numbers = [
            frame.mark.decode_number
            for key, data in vigie.objects(f"footage/{camera}")
            if key.endswith(".m4v")
            for frame in proof.frames_of_file(data)
        ]
        assert len(numbers) == len(set(numbers)), "the bucket has a frame twice"
    for rebuilt in (False, True):
        if rebuilt:
            assert (outcome := await vigie.reindex()).code == 0, outcome
        report = await vigie.fsck(seconds=240)
        assert report.code == 0, (rebuilt, report)


def note(house: House, ledger: Ledger) -> None:
    """One row for all kills at steps, one for those at random moments."""
    at_random = [kill for kill in house.kills if kill.where == "at a random moment"]
    at_steps = [kill for kill in house.kills if kill not in at_random]
    for fault, kills in (
        (f"kill -9 at {len(at_steps)} steps of the write path: {_names(at_steps)}", at_steps),
        (f"kill -9 at {len(at_random)} random moments", at_random),
    ):
        ledger.note(
            Entry(
                "kill",
                fault,
                "the next start loses at most the key-frame interval in hand and the time it was"
                " down, as a gap INGEST_DOWN; nothing doubled; all that was listed still is; the"
                " checker is content each time",
                f"{len(kills)} kills of one installation",
                missing_seconds=max(kill.lost_us for kill in kills) / 1e6,
                recovery_seconds=max(kill.back_us for kill in kills) / 1e6,
            )
        )


def _names(kills: list) -> str:
    return ", ".join(sorted({kill.where for kill in kills}))
