"""A foreign RTSP server fed by foreign encoders is recorded without a gap or a lost frame.

The frames are compared by their bytes with the published files, in order, loop after loop; their
distances in time too. Twenty seconds; five minutes with ``VIGIE_LONG_TESTS=1``.
"""

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import av.logging
import pytest

from ffmpeg_reading import complaints_about
from integration.foreign.product import WALL, Product, StoredSegment
from integration.foreign.sources import Clip, Publishers, make_clips, slices_of
from long_forms import LONG
from vigie.media.bmff.reader import read_fragments, read_header
from vigie.recording.v1 import recording_pb2
from vigie.simcam.marks import split_sample

SECONDS = 300 if LONG else 20
SEGMENT_SECONDS = 10
TICK_TOLERANCE = 2
"""Both ends round times to ticks of 1/90000 s."""
LONGEST_JOINT_TICKS = 90_000
TAIL_SECONDS = 2

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.slow,
    pytest.mark.needs_server("RTSP", "MEDIAMTX_API"),
    pytest.mark.timeout(SECONDS * 2 + 300),
]


@dataclass(frozen=True)
class StoredFrame:
    """One frame as it lies in the store: slices and presentation time in the run, ticks."""

    slices: tuple[bytes, ...]
    ticks: int


def frames_of(segment: StoredSegment, codec: str) -> Iterator[StoredFrame]:
    data = segment.path.read_bytes()
    header = read_header(data)
    for fragment in read_fragments(data, header):
        table, position, time = fragment.table, fragment.data_offset, fragment.base_decode_time
        for size, duration, offset in zip(
            table.sizes, table.durations, table.composition_offsets, strict=True
        ):
            nals = split_sample(data[position : position + size])
            shown = time + offset - header.presentation_delay
            yield StoredFrame(slices_of(codec, nals), shown)
            position, time = position + size, time + duration


def follow(clip: Clip, stored: Sequence[StoredFrame]) -> list[int]:
    """Position in the clip of each stored frame; fails where a frame is missing or another."""
    best: tuple[int, str] = (-1, "its first frame is not of the clip")
    for start, frame in enumerate(clip.frames):
        if frame.slices != stored[0].slices:
            continue
        positions = [start]
        # At the start of a run, leading pictures that need what was before are left out.
        rest = range(start + 1, len(clip.frames))
        expected = itertools.chain(
            itertools.dropwhile(lambda at: clip.frames[at].skips, rest),
            itertools.cycle(range(len(clip.frames))),
        )
        for number, (mine, at) in enumerate(zip(stored[1:], expected, strict=False), 1):
            if mine.slices != clip.frames[at].slices:
                best = max(best, (number, f"frame {number} is not number {at} of the clip"))
                break
            positions.append(at)
        else:
            return positions
    raise AssertionError(f"{clip.name}: {best[1]} ({len(stored)} stored)")


def check_times(clip: Clip, stored: Sequence[StoredFrame], positions: Sequence[int]) -> None:
    """Every distance between two frames is that of the published file, but where it begins anew."""
    pairs = itertools.pairwise(zip(positions, stored, strict=True))
    for (here, frame), (there, following) in pairs:
        distance = following.ticks - frame.ticks
        expected = clip.frames[there].ticks - clip.frames[here].ticks
        if there > here:
            assert abs(distance - expected) <= TICK_TOLERANCE, (
                f"{clip.name}: {distance} ticks from frame {here} to {there}, not {expected}"
            )
    shown = sorted(frame.ticks for frame in stored)
    longest = max(after - before for before, after in itertools.pairwise(shown))
    assert longest <= LONGEST_JOINT_TICKS, f"{clip.name}: nothing shown for {longest} ticks"
    assert len(set(shown)) == len(shown), f"{clip.name}: two frames at one time"


def check_reads(clip: Clip, segments: Sequence[StoredSegment], frames: int, folder: Path) -> None:
    """ffmpeg reads every object, PyAV the whole run, without a word of complaint."""
    for segment in segments:
        assert complaints_about(segment.path) == "", segment.path.name
    whole = folder / f"{clip.name}-whole.mp4"
    with whole.open("wb") as file:
        for index, segment in enumerate(segments):
            data = segment.path.read_bytes()
            fragments = read_fragments(data)
            file.write(data[0 if index == 0 else fragments[0].offset : fragments[-1].end])
    av.logging.set_level(av.logging.WARNING)
    try:
        with av.logging.Capture(local=False) as complaints, av.open(str(whole)) as container:
            assert [stream.type for stream in container.streams] == ["video"]
            decoded = sum(1 for _ in container.decode(video=0))
    finally:
        av.logging.set_level(None)
        whole.unlink()
    assert complaints == []
    assert decoded == frames, f"{clip.name}: {decoded} pictures of {frames} frames"


async def all_recording(product: Product, cameras: Sequence[str], since_us: int) -> int:
    """Wait for the first span of every camera; the instant from which all are recorded."""
    kind = recording_pb2.TIMELINE_ENTRY_KIND_SPAN
    for _ in range(120):
        found = await product.timeline(cameras, since_us, WALL.now_us())
        spans = [[e for e in entries if e.kind == kind] for entries in found.values()]
        if len(spans) == len(cameras) and all(spans):
            return max(entries[0].start_time.ToMicroseconds() for entries in spans)
        await asyncio.sleep(0.5)
    raise AssertionError(f"not every camera is recorded:\n{product.log()[-3000:]}")


async def test_records_a_foreign_server_without_loss(
    tmp_path: Path, server_addresses: dict[str, str]
) -> None:
    clips = make_clips(tmp_path)
    names = [clip.name for clip in clips]
    server, api = server_addresses["RTSP"], server_addresses["MEDIAMTX_API"]
    settings = [f"segment_seconds = {SEGMENT_SECONDS}"]
    async with (
        Publishers(clips, server, api, tmp_path) as publishers,
        Product(tmp_path / "product", settings=settings) as product,
    ):
        await product.make_places()
        begun_us = WALL.now_us()
        await product.commission(publishers.urls)
        start_us = await all_recording(product, names, begun_us)
        await asyncio.sleep(SECONDS)
        assert publishers.ended() == []
        readers = publishers.readers()
        assert all(readers[name] == 1 for name in names), readers
        end_us = WALL.now_us()
        entries = await product.timeline(names, start_us, end_us)
        assert await product.stop() == 0
    for name in names:
        kinds = [recording_pb2.TimelineEntryKind.Name(entry.kind) for entry in entries[name]]
        assert kinds in (
            ["TIMELINE_ENTRY_KIND_SPAN"],
            ["TIMELINE_ENTRY_KIND_SPAN", "TIMELINE_ENTRY_KIND_PENDING"],
        ), f"{name}: {entries[name]}"
    by_camera: defaultdict[str, list[StoredSegment]] = defaultdict(list)
    for segment in product.stored():
        by_camera[segment.camera].append(segment)
    for clip in clips:
        segments = sorted(by_camera[clip.name], key=lambda each: each.number)
        assert len({segment.run for segment in segments}) == 1
        check_segments(segments, start_us, end_us)
        stored = [frame for segment in segments for frame in frames_of(segment, clip.codec)]
        assert len(stored) == sum(segment.sample_count for segment in segments)
        check_times(clip, stored, follow(clip, stored))
        check_reads(clip, segments, len(stored), tmp_path)
    assert await product.fsck() == []


def check_segments(segments: Sequence[StoredSegment], start_us: int, end_us: int) -> None:
    """They follow each other without a microsecond between, and cover the whole test."""
    assert [segment.number for segment in segments] == list(range(len(segments)))
    for before, after in itertools.pairwise(segments):
        assert after.start_us == before.start_us + before.duration_us
    assert segments[0].start_us <= start_us
    end = segments[-1].start_us + segments[-1].duration_us
    assert end >= end_us - TAIL_SECONDS * 1_000_000
