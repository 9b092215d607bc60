"""Hostile bytes, bounded: every fuzz target for about a second. ``make fuzz`` is the long form."""

import random
import time

import pytest

from faults.conftest import LONG
from faults.ledger import Entry, Ledger
from fuzz.catalogue import GROUPS, load
from fuzz.mutate import inputs

SECONDS = 20.0 if LONG else 0.9
LEAST = 50
"""Inputs a target gets however slow the machine is."""
WHO = {
    "rtsp": "RTSP messages, descriptions, challenges and addresses",
    "media": "RTP, RTCP, NAL units, parameter sets and lossy streams",
    "writing": "whole streams with wild timestamps, to fragments and live chunks",
    "files": "segments, records and digests as a broken disk gives them back",
    "evidence": "evidence archives, signatures, manifests and media",
    "tables": "configuration, people file, camera tables and sealed secrets",
}


@pytest.mark.timeout(3600)  # seconds of the clock; those of the processor are few
@pytest.mark.parametrize("group", GROUPS)
def test_hostile_bytes_break_no_promise(group: str, chance: random.Random, ledger: Ledger) -> None:
    count = 0
    for name in GROUPS[group]:
        target = load(name)
        end = time.process_time() + SECONDS
        for number, data in enumerate(inputs(target, chance)):
            if number >= LEAST and time.process_time() >= end:
                break
            try:
                target(data)
            except Exception as error:
                error.add_note(f"{name}, input {number}: {data!r}")
                raise
            count += 1
    assert count >= LEAST * len(GROUPS[group])
    ledger.note(
        Entry(
            section="fuzzing",
            fault=f"Altered and invented bytes: {WHO[group]}",
            promise="refused by name or read as what they are; no crash, no loop, bounded memory",
            seen=f"{count} inputs in this run, none broke a promise",
        )
    )
