"""A soak, bounded: some seconds of churn with everybody at work; the long one is `make soak`."""

import random
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from faults.conftest import LONG
from faults.ledger import Entry, Ledger
from faults.soak import Plan, soak, summary
from faults.soaking.plot import draw

MINUTES, CAMERAS, STEADY = (10.0, 100, 10) if LONG else (0.4, 24, 4)

MOST_PICTURE_BYTES = 100_000


@pytest.mark.e2e
@pytest.mark.timeout(1800 if LONG else 900)
async def test_nothing_grows_while_cameras_come_go_and_misbehave(
    chance: random.Random, ledger: Ledger, tmp_path: Path, footage_folder: Path
) -> None:
    plan = Plan(
        minutes=MINUTES,
        warm_up_seconds=MINUTES * 15,
        cameras=CAMERAS,
        steady=STEADY,
        viewers=4,
        pace=2.0,
        sample_seconds=1.0,
        segment_seconds=20 if LONG else 4,
        seed=chance.randrange(1 << 31),
        footage=footage_folder,
        leeway=1.0 if LONG else 6.0,
    )
    result = await soak(plan, tmp_path)
    told = summary(plan, result)
    assert not result.wrong, told
    assert result.done["faults of cameras"] > 0
    assert result.done["live messages"] > 0
    picture = draw(result.samples, "soak & picture", plan.warm_up_seconds)
    assert ET.fromstring(picture).tag.endswith("svg")
    assert len(picture.encode()) < MOST_PICTURE_BYTES
    memory = result.comparisons[0]
    ledger.note(
        Entry(
            "soak",
            f"{CAMERAS} cameras that come, go, misbehave, are moved and set up anew, with live"
            " viewers, playback, clips, stills and evidence",
            "memory, descriptors, threads, tasks, metrics and the spool do not grow; cameras left"
            " alone have no gap; nothing is kept of cameras that are gone; the checker finds"
            " nothing",
            f"{MINUTES:g} minutes, {result.done['faults of cameras']} faults of cameras,"
            f" {result.done['replaced']} cameras replaced; memory {memory.first:.0f} MB, then"
            f" {memory.last:.0f} MB",
        )
    )
