"""Hostile bytes, bounded: some for every fuzz target. ``make fuzz`` is the long form."""

import itertools
import random

import pytest

from faults.conftest import LONG, SEED
from faults.ledger import Entry, Ledger
from fuzz.catalogue import GROUPS, load
from fuzz.mutate import inputs

INPUTS = 20_000 if LONG else 300
WHO = {
    "rtsp": "RTSP messages, descriptions, challenges and addresses",
    "media": "RTP, RTCP, NAL units, parameter sets and lossy streams",
    "writing": "whole streams with wild timestamps, to fragments and live chunks",
    "files": "segments, records and digests as a broken disk gives them back",
    "evidence": "evidence archives, signatures, manifests and media",
    "tables": "configuration, people file, camera tables and sealed secrets",
}


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("group", GROUPS)
def test_hostile_bytes_break_no_promise(group: str, ledger: Ledger) -> None:
    count = 0
    for name in GROUPS[group]:
        target, chance = load(name), random.Random(f"{SEED} {name}")
        for number, data in enumerate(itertools.islice(inputs(target, chance), INPUTS)):
            try:
                target(data)
            except Exception as error:
                error.add_note(f"{name}, input {number}: {data!r}")
                raise
            count += 1
    ledger.note(
        Entry(
            section="fuzzing",
            fault=f"Altered and invented bytes: {WHO[group]}",
            promise="refused by name or read as what they are; no crash, no loop, bounded memory",
            seen=f"{count} inputs in this run, none broke a promise",
        )
    )
