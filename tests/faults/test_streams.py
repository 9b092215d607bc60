"""Faults of cameras that meet: they cost their own camera, are named, and nobody else notices."""

import random
import time
from pathlib import Path

import pytest

from e2e import estate, proof
from e2e.callers import SPAN, play, recorded_from, stored_until, timelines
from e2e.harness import DEPLOYMENTS, WALL, Installation, simulated_cameras
from faults import combined
from faults.conftest import LONG
from faults.ledger import Entry, Ledger
from faults.soak import ALARMS, LATE_US
from faults.soaking.churn import enter_cameras, make_places
from faults.soaking.samples import metrics_page, pss_bytes
from vigie.simcam import ServerConfig

ROUNDS = 40 if LONG else 2
FAULTY, NEIGHBOURS = 10, 3
MEMORY_BYTES = 64 << 20
"""What twenty sessions that end badly may leave in use, together; one of them could hold more."""
ATTEMPTS_A_SECOND = 10
"""With half a second of patience on average no camera is knocked at more often than this."""
SETTINGS = {
    "grpc": {"record_timeout_seconds": "30"},
    "ingest": {
        "segment_seconds": "2",
        "silence_timeout_seconds": "4",
        "handshake_timeout_seconds": "3",
        "reconnect_longest_seconds": "1",
        "refused_wait_seconds": "1",
        "heartbeat_seconds": "1",
    },
}


@pytest.mark.e2e
@pytest.mark.timeout(7200 if LONG else 900)
async def test_faults_that_meet_cost_their_own_camera_alone(
    chance: random.Random, ledger: Ledger, tmp_path: Path, footage_folder: Path
) -> None:
    cameras = combined.simulated(FAULTY, NEIGHBOURS)
    faulty, good = cameras[:FAULTY], [camera.id for camera in cameras[FAULTY:]]
    config = ServerConfig(cameras=cameras, port_per_camera=True, cache_folder=footage_folder)
    ordeals: list[combined.Ordeal] = []
    outcomes: list[combined.Outcome] = []
    wrong: list[AssertionError] = []
    frames = 0
    async with simulated_cameras(config, tmp_path / "cameras") as simulator:
        vigie = Installation(
            DEPLOYMENTS["one-process"], tmp_path / "vigie", estate.PEOPLE, SETTINGS
        )
        await vigie.start()
        try:
            asked_us = WALL.now_us()
            await make_places(vigie)
            await enter_cameras(vigie, [(c, simulator.urls[c.id]) for c in cameras])
            await stored_until(vigie, [c.id for c in cameras], asked_us, asked_us + 1, seconds=120)
            since_us = await recorded_from(vigie, [c.id for c in cameras], asked_us)
            (pid,) = vigie.process_ids()
            await simulator.control.worst_lateness_us()
            before_bytes, began = pss_bytes(pid), time.monotonic()
            for _ in range(ROUNDS):
                plan = combined.drawn(chance, faulty)
                ordeals += await combined.go_through(vigie, simulator.control, plan, WALL.now_us())
            passed = time.monotonic() - began
            for ordeal in ordeals:
                found = await combined.outcome(vigie, ordeal)
                try:
                    combined.assert_right_cause(found)
                    frames += await combined.assert_as_sent(found, simulator.control)
                except AssertionError as error:
                    error.add_note(f"{ordeal}\n{found.entries}")
                    wrong.append(error)
                outcomes.append(found)
            if wrong:
                raise ExceptionGroup("not every ordeal came out well", wrong)
            assert pss_bytes(pid) - before_bytes < MEMORY_BYTES
            assert await _attempts(vigie) <= ATTEMPTS_A_SECOND * passed * FAULTY
            until_us = max(ordeal.settled_us for ordeal in ordeals)
            late_us = await simulator.control.worst_lateness_us()
            neighbours = await _assert_unharmed(
                vigie, simulator.control, good, since_us, until_us, is_punctual=late_us < LATE_US
            )
        finally:
            codes = await vigie.stop()
    assert set(codes.values()) == {0}
    said = vigie.log_text()
    assert not [alarm for alarm in ALARMS if alarm in said]
    checked = await vigie.fsck()
    assert checked.code == 0, checked
    _note(ledger, outcomes, frames, neighbours)


async def _attempts(vigie: Installation) -> float:
    (address,) = vigie.http_addresses()
    lines = (await metrics_page(address)).splitlines()
    name = "vigie_ingest_connection_attempts_total"
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


async def _assert_unharmed(
    vigie: Installation,
    control: combined.ControlClient,
    cameras: list[str],
    since_us: int,
    until_us: int,
    *,
    is_punctual: bool,
) -> int:
    """The neighbours have every frame; how many.

    A machine that did not let the simulator send for seconds has made them silent.
    """
    await stored_until(vigie, cameras, since_us, until_us)
    count = 0
    for camera, entries in (await timelines(vigie, cameras, since_us, until_us)).items():
        if not is_punctual and {e.cause for e in entries if e.kind != SPAN} == {"CAMERA_SILENT"}:
            continue
        assert [entry.kind for entry in entries] == [SPAN], (camera, entries)
        found = proof.timed_of_play((await play(vigie, camera, since_us, until_us)).fragments)
        numbers = [each.frame.mark.decode_number for each in found]
        assert not proof.breaks(numbers), camera
        sent = await proof.expected_frames(control, camera, numbers[0], numbers[-1])
        assert [each.frame.media_sha256 for each in found] == [
            sent[number]["media_sha256"] for number in numbers
        ]
        count += len(numbers)
    return count


def _note(ledger: Ledger, outcomes: list[combined.Outcome], frames: int, neighbours: int) -> None:
    met = {frozenset(found.ordeal.faults) for found in outcomes}
    kinds = {fault for faults in met for fault in faults}
    recovered = max(
        (max(gap.end_us for gap in found.gaps) - found.ordeal.cleared_us) / 1e6
        for found in outcomes
        if found.gaps
    )
    ledger.note(
        Entry(
            "streams",
            "two or three faults of a camera at once or one after the other, on ten cameras at"
            " the same time",
            "every gap bears the cause of one of them; what is there is as it was sent, once and"
            " in order; neighbours lose nothing; memory and attempts to connect stay bounded",
            f"{len(outcomes)} ordeals of {len(met)} combinations, {len(kinds)} kinds of faults;"
            f" {frames} frames compared, {neighbours} of neighbours",
            missing_seconds=max(found.missing_seconds for found in outcomes),
            recovery_seconds=max(0.0, recovered),
        )
    )
