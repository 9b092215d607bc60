"""Live fan-out: from the last key frame, nobody slows anybody, nothing while nobody watches."""

import asyncio
from itertools import chain

import pytest

from ingest_support import START_US, Footage, footage, frames_of
from vigie.ingest import metrics
from vigie.ingest.engine import TIMESCALE, LiveFrames
from vigie.ingest.live.channel import QUEUE_CHUNKS, Item, LiveHub, Skipped, StateChange, Viewer
from vigie.ingest.live.chunks import Chunk
from vigie.ingest.v1 import events_pb2
from vigie.media.bmff.reader import read_fragments
from vigie.platform.metrics import MetricsRegistry

FILM = footage()


def tick(film: Footage, group: int, start: int, stop: int) -> LiveFrames:
    frames = film.groups[group][start:stop]
    return LiveFrames(
        data=b"".join(data for data, _ in frames),
        sizes=[len(data) for data, _ in frames],
        presentation_ticks=[ticks for _, ticks in frames],
        key_frame=start == 0,
        arrival_us=START_US + group * 1_000_000 + stop * 40_000,
        parameters=film.parameters,
    )


@pytest.fixture
def registry() -> MetricsRegistry:
    return MetricsRegistry()


@pytest.fixture
def hub(registry: MetricsRegistry) -> LiveHub:
    return LiveHub(
        viewers=registry.gauge(metrics.VIEWERS), skipped=registry.counter(metrics.SKIPPED)
    )


async def taken(viewer: Viewer, count: int) -> list[Item]:
    async with asyncio.timeout(5):
        return [await viewer.next() for _ in range(count)]


def playable(items: list[Item]) -> bytes:
    chunks = [item for item in items if isinstance(item, Chunk)]
    return chunks[0].init.data + b"".join(chunk.data for chunk in chunks)


@pytest.mark.parametrize("kind", ["h264", "h264-b", "h265"])
async def test_header_and_chunks_are_a_file_with_the_frames_as_received(
    hub: LiveHub, kind: str
) -> None:
    film, channel = footage(kind), hub.channel("cam-a")
    viewer = channel.watch()
    for group in range(2):
        for start in range(0, 25, 3):
            channel.push(tick(film, group, start, min(start + 3, 25)))
    content = playable(await taken(viewer, 18))

    assert frames_of(content) == film.frames(range(2))
    fragments = read_fragments(content)
    times = [f.base_decode_time for f in fragments]
    assert times == sorted(set(times))
    delay = film.parameters.reorder_depth * TIMESCALE // 25
    shown = []
    for fragment in fragments:
        at = fragment.base_decode_time
        for duration, offset in zip(
            fragment.table.durations, fragment.table.composition_offsets, strict=True
        ):
            shown.append(at + offset - delay)
            at += duration
    assert shown == [ticks for _, ticks in chain.from_iterable(film.groups[:2])]


async def test_one_who_joins_in_mid_group_begins_at_its_key_frame(hub: LiveHub) -> None:
    channel = hub.channel("cam-a")
    channel.watch()
    for group, start in [(0, 0), (0, 5), (1, 0), (1, 5), (1, 10)]:
        channel.push(tick(FILM, group, start, start + 5))
    late = channel.watch()
    items = await taken(late, 3)

    assert isinstance(items[0], Chunk)
    assert items[0].key_frame
    assert frames_of(playable(items)) == FILM.frames([1])[:15]


async def test_nobody_watching_costs_nothing(hub: LiveHub, registry: MetricsRegistry) -> None:
    channel = hub.channel("cam-a")
    assert not channel.wants_frames
    viewer = channel.watch()
    assert channel.wants_frames
    channel.push(tick(FILM, 0, 0, 5))
    assert registry.value("vigie_ingest_live_viewers") == 1
    viewer.close()
    viewer.close()
    assert not channel.wants_frames
    assert channel._ring == []
    assert registry.value("vigie_ingest_live_viewers") == 0


async def test_a_slow_viewer_skips_to_a_key_frame_and_is_told(
    hub: LiveHub, registry: MetricsRegistry
) -> None:
    channel = hub.channel("cam-a")
    slow, quick = channel.watch(), channel.watch()
    seen: list[Item] = []
    for round_number in range(5):
        for start in range(25):
            channel.push(tick(FILM, round_number, start, start + 1))
            seen += await taken(quick, 1)
    items = await taken(slow, len(slow._items))

    assert frames_of(playable(seen)) == FILM.frames(range(5))
    skipped = next(item for item in items if isinstance(item, Skipped))
    after = items[items.index(skipped) + 1]
    assert isinstance(after, Chunk)
    assert after.key_frame
    frames = sum(item.sample_count for item in items if isinstance(item, Chunk))
    assert frames + skipped.frame_count == 125
    assert skipped.duration_us == skipped.frame_count * 40_000
    assert registry.value("vigie_ingest_live_frames_skipped_total") == skipped.frame_count


async def test_memory_of_a_viewer_who_reads_nothing_is_bounded(hub: LiveHub) -> None:
    channel = hub.channel("cam-a")
    viewer = channel.watch()
    for round_number in range(40):
        for start in range(25):
            channel.push(tick(FILM, round_number % 8, start, start + 1))
    assert len(viewer._items) <= QUEUE_CHUNKS + 3


async def test_viewers_are_told_that_the_camera_stopped_and_get_a_new_header(hub: LiveHub) -> None:
    channel = hub.channel("cam-a")
    viewer = channel.watch()
    channel.push(tick(FILM, 3, 0, 5))
    stopped = StateChange(
        events_pb2.STREAM_STATE_WAITING, "CLOSED_BY_CAMERA", "went away", START_US
    )
    channel.change(stopped, is_live=False)
    later = channel.watch()
    channel.push(tick(FILM, 0, 0, 5))
    items = await taken(viewer, 3)

    assert items[1] == stopped
    assert isinstance(items[0], Chunk)
    assert isinstance(items[2], Chunk)
    assert items[0].init is not items[2].init
    assert (await taken(later, 1)) == [stopped]


async def test_changed_parameters_come_with_their_own_header(hub: LiveHub) -> None:
    other, channel = footage("h265"), hub.channel("cam-a")
    viewer = channel.watch()
    channel.push(tick(FILM, 0, 0, 5))
    channel.push(tick(other, 1, 3, 5))  # no key frame yet: of no use
    channel.push(tick(other, 2, 0, 5))
    first, second = await taken(viewer, 2)
    assert isinstance(first, Chunk)
    assert isinstance(second, Chunk)
    assert second.init.parameters == other.parameters
    assert frames_of(playable([second])) == other.frames([2])[:5]
