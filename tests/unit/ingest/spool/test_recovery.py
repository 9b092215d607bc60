"""What recovery believes of a file that nobody closed."""

import hashlib
import json
from pathlib import Path

import pytest

from ingest_support import START_US, Told, camera_recorder, footage, frames_of, recorder_tools
from vigie.ingest.metrics import QUARANTINED
from vigie.ingest.recorder.camera import RecorderTools
from vigie.ingest.recorder.segment import SyncPolicy
from vigie.ingest.spool.layout import RunDirectory
from vigie.ingest.spool.records import EndRecord, SegmentRecord, SpoolRecordError, read_record
from vigie.ingest.spool.repair import RunRepair
from vigie.media.bmff.reader import read_fragments
from vigie.platform.faultpoint import NO_FAULTS
from vigie.platform.metrics import MetricsRegistry

FILM = footage()


def abandoned(
    root: Path,
    groups: int,
    *,
    segment_seconds: int = 30,
    sync: SyncPolicy = SyncPolicy.FRAGMENT,
) -> tuple[RecorderTools, RunDirectory]:
    """A run that was being written when its process went away."""
    tools, told = recorder_tools(root), Told()
    recorder = camera_recorder(tools, told, segment_seconds=segment_seconds, sync=sync)
    for index in range(groups):
        recorder.group(FILM.parameters, FILM.group(index))
    assert recorder._run is not None
    recorder._run.abandon()
    return tools, tools.layout.run("cam-test-01", told.runs[0].run)


def repair(tools: RecorderTools, *, boot: str = "boot-1") -> RunRepair:
    quarantined = MetricsRegistry().counter(QUARANTINED)
    return RunRepair(tools.layout, boot=boot, faults=NO_FAULTS, quarantined=quarantined)


def closed(directory: RunDirectory, number: int = 0) -> tuple[SegmentRecord, bytes]:
    record = read_record(directory.segment_record(number), SegmentRecord)
    assert record is not None
    return record, directory.media(number).read_bytes()


def test_what_was_written_is_kept(tmp_path: Path) -> None:
    tools, directory = abandoned(tmp_path, 5)
    state = repair(tools).close(directory, "RECOVERED")

    record, content = closed(directory)
    assert state.waiting == [0]
    assert frames_of(content) == FILM.frames(range(5))
    assert record.sample_count == 125
    assert record.start_us == START_US + 20_000
    assert record.duration_us == 5_000_000


def test_recovery_twice_changes_nothing(tmp_path: Path) -> None:
    tools, directory = abandoned(tmp_path, 5)
    repair(tools).close(directory, "RECOVERED")
    before = {path.name: path.read_bytes() for path in directory.path.iterdir()}
    repair(tools).close(directory, "OUTAGE")
    assert {path.name: path.read_bytes() for path in directory.path.iterdir()} == before


def test_a_cut_at_any_byte_keeps_the_whole_fragments_before_it(tmp_path: Path) -> None:
    tools, directory = abandoned(tmp_path, 4)
    whole = directory.media(0).read_bytes()
    ends = [fragment.end for fragment in read_fragments(whole)]
    sums = directory.sums(0).read_bytes()
    record = directory.run_record.read_bytes()
    step = max(1, len(whole) // 60)
    for cut in [*range(0, len(whole), step), *(end + d for end in ends[:-1] for d in (-1, 0, 1))]:
        directory.path.mkdir(parents=True, exist_ok=True)
        directory.run_record.write_bytes(record)
        directory.media(0).write_bytes(whole[:cut])
        directory.sums(0).write_bytes(sums)
        state = repair(tools).close(directory, "RECOVERED")
        kept = sum(end <= cut for end in ends)
        assert state.ended == bool(kept)
        if kept:
            assert frames_of(closed(directory)[1]) == FILM.frames(range(kept))
            for path in directory.path.iterdir():
                path.unlink()


def test_a_flipped_bit_is_never_served(tmp_path: Path) -> None:
    tools, directory = abandoned(tmp_path, 4)
    whole = bytearray(directory.media(0).read_bytes())
    fragments = read_fragments(bytes(whole))
    whole[fragments[2].data_offset + 300] ^= 4
    directory.media(0).write_bytes(whole)

    repair(tools).close(directory, "RECOVERED")

    assert frames_of(closed(directory)[1]) == FILM.frames(range(2))
    assert list(tools.layout.quarantine.iterdir())


@pytest.mark.parametrize(("boot", "kept"), [("boot-1", 4), ("boot-2", 3)])
def test_after_a_power_cut_the_last_unwitnessed_fragment_is_not_believed(
    tmp_path: Path, boot: str, kept: int
) -> None:
    tools, directory = abandoned(tmp_path, 4)
    directory.sums(0).write_bytes(b"")
    repair(tools, boot=boot).close(directory, "RECOVERED")
    assert frames_of(closed(directory)[1]) == FILM.frames(range(kept))


@pytest.mark.parametrize(("boot", "kept"), [("boot-1", 4), ("boot-2", 2)])
def test_nothing_unforced_is_believed_without_its_digest(
    tmp_path: Path, boot: str, kept: int
) -> None:
    """With ``spool_sync = segment`` any page of an open segment may be missing after a cut."""
    tools, directory = abandoned(tmp_path, 4, sync=SyncPolicy.SEGMENT)
    directory.sums(0).write_bytes(directory.sums(0).read_bytes()[: 2 * 40])
    repair(tools, boot=boot).close(directory, "RECOVERED")
    assert frames_of(closed(directory)[1]) == FILM.frames(range(kept))


def test_what_a_power_cut_has_not_written_is_no_alteration(tmp_path: Path) -> None:
    tools, directory = abandoned(tmp_path, 4, sync=SyncPolicy.SEGMENT)
    whole = bytearray(directory.media(0).read_bytes())
    last = read_fragments(bytes(whole))[3]
    whole[last.data_offset :] = bytes(len(whole) - last.data_offset)
    directory.media(0).write_bytes(whole)
    repair(tools, boot="boot-2").close(directory, "RECOVERED")
    assert frames_of(closed(directory)[1]) == FILM.frames(range(3))
    assert not list(tools.layout.quarantine.iterdir())


@pytest.mark.parametrize("sync", list(SyncPolicy))
def test_a_closed_segment_whose_record_is_altered_loses_nothing_after_a_power_cut(
    tmp_path: Path, sync: SyncPolicy
) -> None:
    tools, directory = abandoned(tmp_path, 4, segment_seconds=3, sync=sync)
    _, content = closed(directory, 0)
    directory.segment_record(0).write_bytes(b"{}")
    repair(tools, boot="boot-2").close(directory, "RECOVERED")
    assert closed(directory, 0)[1] == content


def test_what_is_linked_into_the_store_is_not_written_to(tmp_path: Path) -> None:
    tools, directory = abandoned(tmp_path, 4)
    stored = tmp_path / "stored"
    stored.hardlink_to(directory.media(0))
    before = stored.read_bytes()
    repair(tools).close(directory, "RECOVERED")
    assert closed(directory)[1] != before
    assert stored.read_bytes() == before


def test_zeros_where_a_fragment_should_be_are_cut_off(tmp_path: Path) -> None:
    tools, directory = abandoned(tmp_path, 4)
    whole = bytearray(directory.media(0).read_bytes())
    last = read_fragments(bytes(whole))[3]
    whole[last.data_offset :] = bytes(len(whole) - last.data_offset)
    directory.media(0).write_bytes(whole)
    directory.sums(0).write_bytes(directory.sums(0).read_bytes()[: 3 * 40])
    repair(tools).close(directory, "RECOVERED")
    assert frames_of(closed(directory)[1]) == FILM.frames(range(3))


def test_a_later_segment_begins_where_the_one_before_ends(tmp_path: Path) -> None:
    tools, directory = abandoned(tmp_path, 5, segment_seconds=3)
    state = repair(tools).close(directory, "RECOVERED")
    first, _ = closed(directory, 0)
    second, content = closed(directory, 1)
    assert state.waiting == [0, 1]
    assert second.start_us == first.end_us
    assert second.media_start_ticks == first.media_duration_ticks
    assert frames_of(content) == FILM.frames(range(3, 5))


def test_a_run_without_footage_leaves_nothing(tmp_path: Path) -> None:
    tools, directory = abandoned(tmp_path, 1)
    directory.media(0).write_bytes(b"")
    assert not repair(tools).close(directory, "RECOVERED").ended
    assert not directory.path.exists()


def test_an_altered_run_record_is_for_the_quarantine(tmp_path: Path) -> None:
    tools, directory = abandoned(tmp_path, 2)
    content = bytearray(directory.run_record.read_bytes())
    content[40] ^= 1
    directory.run_record.write_bytes(content)
    with pytest.raises(SpoolRecordError):
        repair(tools).close(directory, "RECOVERED")
    moved = repair(tools).quarantine(directory.path, "test", "TEST")
    assert (moved / "000000.m4v").exists()
    assert moved.with_name(moved.name + ".why").read_text() == "test\n"


def test_the_quarantine_is_emptied_before_a_month_is_over(tmp_path: Path) -> None:
    tools, directory = abandoned(tmp_path, 2)
    moved = repair(tools).quarantine(directory.path, "test", "TEST")
    written_us = moved.stat().st_mtime_ns // 1000
    day_us = 86_400_000_000
    assert repair(tools).sweep_quarantine(written_us + 27 * day_us) == 0
    assert moved.exists()
    assert repair(tools).sweep_quarantine(written_us + 29 * day_us) == 2
    assert not list(tools.layout.quarantine.iterdir())


def test_a_stale_running_digest_does_not_survive_its_segment(tmp_path: Path) -> None:
    tools, directory = abandoned(tmp_path, 3)
    sums = directory.sums(0).read_bytes()
    repair(tools).close(directory, "RECOVERED")
    directory.sums(0).write_bytes(sums)
    repair(tools).close(directory, "RECOVERED")
    assert not directory.sums(0).exists()


def test_a_run_of_an_older_program_keeps_the_keys_it_began_with(tmp_path: Path) -> None:
    """Some of its segments may be stored already, under keys that do not name the run."""
    tools, directory = abandoned(tmp_path, 3)
    envelope = json.loads(directory.run_record.read_bytes())
    del envelope["body"]["key_postfix"]
    body = json.dumps(envelope["body"], sort_keys=True).encode()
    envelope["sha256"] = hashlib.sha256(body).hexdigest()
    directory.run_record.write_text(json.dumps(envelope))

    assert repair(tools).close(directory, "RECOVERED").waiting == [0]

    record, _ = closed(directory)
    assert record.object_key == "footage/cam-test-01/2026-09-21/14/13-20.020000Z.0.m4v"
    end = read_record(directory.end_record, EndRecord)
    assert end is not None
    assert end.object_key == "footage/cam-test-01/2026-09-21/14/13-23.020000Z.1.m4v_end"
