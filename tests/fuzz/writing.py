"""From depacketised groups to bytes that are stored or shown: time, fragments, live chunks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Final

from fuzz.draw import Draw
from fuzz.packets import PAYLOAD_TYPE, SETS, WildCamera, interleave
from fuzz.target import Target, promise
from unit.ingest.rtsp.transcript import Conversation
from vigie.ingest.delivery import Delivery, reorder_depth
from vigie.ingest.engine import (
    CodecParameters,
    EndCause,
    FrameGroup,
    LiveFrames,
    SenderReport,
)
from vigie.ingest.live.chunks import Chunk, Chunker
from vigie.ingest.native.demux import Demultiplexer
from vigie.ingest.native.reception import Reception
from vigie.ingest.native.settings import NativeSettings
from vigie.ingest.recorder.camera import EARLY_TICKS
from vigie.ingest.rtsp.errors import RtspError
from vigie.ingest.rtsp.sdp import VideoTrack
from vigie.media.bmff.fragment import build_fragment
from vigie.media.bmff.header import build_header
from vigie.media.bmff.movie import MediaHeader
from vigie.media.bmff.randomaccess import RandomAccessEntry, RandomAccessTable
from vigie.media.bmff.reader import read_fragments, read_header, read_mfra
from vigie.media.codec import VideoCodec
from vigie.media.depacketize import make_depacketizer
from vigie.media.errors import MediaError
from vigie.media.gop import Gop, Limits
from vigie.media.timing import RunTimeline, TimedGop

_PRFT: Final = 32
_FEW_PACKETS: Final = 20  # some intervals, or one in which as many frames overtake as there may
_MOST_PIECES: Final = 64  # of a connection: a short stream may come byte by byte
_START_US: Final = 1_790_000_000_000_000


# --- runs --------------------------------------------------------------------------------------


def _runs(data: bytes) -> None:
    """Groups of a wild camera on the timelines of their runs, written as segments and read."""
    draw = Draw(data)
    codec = draw.pick(tuple(VideoCodec))
    limits = Limits(min_gop_ticks=draw.pick((0, 0, 45_000)))
    reader = make_depacketizer(codec, PAYLOAD_TYPE, limits=limits)
    for packet in WildCamera(codec, draw, _FEW_PACKETS).packets():
        reader.push(packet, 0, len(packet), 0)
    reader.flush()
    run: list[Gop] = []
    for item in reader.take():
        if isinstance(item, Gop) and (not run or not item.starts_run):
            run.append(item)
            continue
        _write(run)
        run = [item] if isinstance(item, Gop) else []
    _write(run)


def _write(run: Sequence[Gop]) -> None:
    if not run:
        return
    for before, gop in pairwise(run):
        early = (before.end_timestamp or 0) - min(gop.timestamps)
        promise(0 <= early <= EARLY_TICKS, "an interval begins where the one before ends")
    timeline = RunTimeline()
    timed = [timeline.append(gop) for gop in run]
    delay, origin = timeline.presentation_delay, timeline.origin_timestamp or 0
    at = 0
    for gop, placed in zip(run, timed, strict=True):
        promise(placed.base_decode_time == at, "intervals follow each other without a hole")
        at = placed.end_decode_time
        _check_times(gop, placed, delay, origin)
    promise(delay >= 0, "a delay is never negative")
    configuration = run[0].parameters.configuration
    head = build_header(configuration, presentation_delay=delay)
    header = _header(head)
    promise(header.parameters == (run[0].parameters,), "the parameter sets are in the header")
    promise(header.presentation_delay == delay, "the delay is in the header")
    data = bytearray(head)
    index = RandomAccessTable()
    for number, (gop, placed) in enumerate(zip(run, timed, strict=True), 1):
        index.append(placed.key_time, len(data) + _PRFT)
        base = placed.base_decode_time
        data += build_fragment(placed.table, number, base, wall_us=_START_US + number)
        data += b"".join(gop.frames)
    data += index.mfra()
    _read_back(bytes(data), header, run, timed, index.entries)


@lru_cache(256)
def _header(head: bytes) -> MediaHeader:
    """The same few come again and again."""
    return read_header(head)


def _check_times(gop: Gop, placed: TimedGop, delay: int, origin: int) -> None:
    table = placed.table
    promise(min(table.durations) >= 1, "decode times rise")
    promise(placed.key_time >= 0, "no key frame is shown before its run begins")
    starts = list(accumulate(table.durations, initial=placed.base_decode_time))
    shown = [
        start + offset - delay + origin
        for start, offset in zip(starts, table.composition_offsets, strict=False)
    ]
    promise(shown == gop.timestamps, "every frame is shown when the camera said")


def _read_back(
    data: bytes, header: MediaHeader, run: Sequence[Gop], timed: Sequence[TimedGop],
    entries: Sequence[RandomAccessEntry],
) -> None:  # fmt: skip
    fragments = read_fragments(data, header)
    promise(len(fragments) == len(run), "a fragment for each interval")
    for gop, placed, found in zip(run, timed, fragments, strict=True):
        promise(found.table == placed.table, "the table that is read is the one that was written")
        promise(found.base_decode_time == placed.base_decode_time, "the time is the same")
        media = data[found.data_offset : found.data_offset + found.data_size]
        promise(media == b"".join(gop.frames), "the bytes are those received")
    promise(read_mfra(data) == list(entries), "the index is the one that was written")


# --- what the sink of a session is told --------------------------------------------------------


@dataclass
class Viewer:
    """A sink that watches live and checks what it is told."""

    wants_frames: bool = True
    told: list[str] = field(default_factory=list)
    shown: bytearray = field(default_factory=bytearray)
    groups: int = 0
    parameters_now: CodecParameters | None = None
    chunker: Chunker = field(default_factory=Chunker)
    last: Chunk | None = None
    every: bool = True  # whether no frame of the group was missed

    def connected(self, info: object) -> None:
        self.told.append("connected")

    def parameters(self, parameters: CodecParameters) -> None:
        self.parameters_now = parameters

    def group(self, group: FrameGroup) -> None:
        self.groups += 1
        count = len(group.frames)
        promise(self.parameters_now is not None, "parameters are told before the first group")
        promise(sum(map(len, group.frames)) == group.size_bytes, "the size is that of the frames")
        lengths = {count, len(group.presentation_ticks), len(group.arrival_us)}
        promise(lengths == {count}, "one entry a frame")
        if self.wants_frames and self.every:
            # Leading frames and cut groups end earlier than what was shown.
            known = bytes(self.shown[: group.size_bytes])
            promise(b"".join(group.frames).startswith(known), "live is what is kept")

    def frames(self, frames: LiveFrames) -> None:
        if frames.key_frame:
            self.shown.clear()
            self.every = False  # another group is under way; the one before may come later
        self.shown += frames.data
        promise(sum(frames.sizes) == len(frames.data), "the sizes are those of the data")
        try:
            chunk = self.chunker.chunk(frames)
        except MediaError:
            return
        if chunk is not None:
            self._check_chunk(chunk, frames)

    def _check_chunk(self, chunk: Chunk, frames: LiveFrames) -> None:
        before = self.last
        if before is not None and before.init is chunk.init:
            rises = chunk.decode_time_ticks >= before.decode_time_ticks + before.sample_count
            promise(rises, "decode times rise from chunk to chunk")
        self.last = chunk
        data = chunk.init.data + chunk.data
        header = _header(chunk.init.data)
        (found,) = read_fragments(data, header)
        promise(found.base_decode_time == chunk.decode_time_ticks, "the time is the chunk's")
        promise(min(found.table.durations) >= 0, "no frame lasts less than nothing")
        starts = accumulate(found.table.durations, initial=found.base_decode_time)
        times = [
            start + offset
            for start, offset in zip(starts, found.table.composition_offsets, strict=False)
        ]
        ticks = frames.presentation_ticks
        steps = [time - times[0] for time in times]
        promise(steps == [tick - ticks[0] for tick in ticks], "frames are as far apart as sent")
        promise(data.endswith(frames.data), "the bytes are those received")
        far = max(map(abs, found.table.composition_offsets))
        promise(far < 1 << 30, "frames are shown near to when they are decoded")

    def lost(self, cause: EndCause, detail: str, at_us: int) -> None:
        promise(detail.isprintable(), "a loss is told on one line")
        self.told.append(cause.value)

    def sender_report(self, report: SenderReport) -> None:
        promise(abs(report.ticks) < 1 << 63, "a time")

    def received(self, frames: int, size_bytes: int, at_us: int) -> None:
        promise(frames >= 0 and size_bytes >= 0, "counts rise")

    def ended(self, cause: EndCause, detail: str) -> None:
        self.told.append("ended")


def _delivery(data: bytes) -> None:
    draw = Draw(data)
    codec = draw.pick(tuple(VideoCodec))
    reader = make_depacketizer(codec, PAYLOAD_TYPE)
    viewer = Viewer()
    delivery = Delivery(reader, viewer)
    delivery.note_time(_START_US, 0)
    ticks = draw.byte()
    for number, packet in enumerate(WildCamera(codec, draw, _FEW_PACKETS).packets()):
        reader.push(packet, 0, len(packet), number * 1000)
        if (number + ticks) % (1 + ticks % 7) == 0:
            delivery.note_time(_START_US + number * (1000 + ticks), number * 1000)
            delivery.deliver(_START_US)
        if ticks & 0x80 and number % 16 == 0:
            viewer.wants_frames = not viewer.wants_frames
            viewer.every = False
            viewer.chunker, viewer.last = Chunker(), None
        if ticks & 0x40 and number % 8 == 3:
            delivery.camera_clock(_START_US, number * 3600 & 0xFFFFFFFF, _START_US)
    delivery.finish(_START_US)


def _reordering(data: bytes) -> None:
    wanted = max((sum(e > tick for e in data[:i]) for i, tick in enumerate(data)), default=0)
    promise(reorder_depth(data) == min(wanted, 16), "how many frames precede and follow")


# --- one connection ----------------------------------------------------------------------------


class _Control:
    def __init__(self, reception: Reception) -> None:
        self._reception = reception

    def control_packet(self, buffer: bytearray, offset: int, length: int) -> None:
        self._reception.control_packet(buffer, offset, length, _START_US, 0)


def _connection(data: bytes) -> None:
    """Everything on one connection: media, control, messages, garbage, cut anywhere."""
    draw = Draw(data)
    talk = Conversation()
    talk.until_playing()
    codec = draw.pick(tuple(VideoCodec))
    viewer = Viewer(wants_frames=draw.flag())
    viewer.every = False
    reception = Reception(VideoTrack(codec.value, PAYLOAD_TYPE, "", {}), viewer, Limits())
    reception.note_time(_START_US, 0)
    demux = Demultiplexer(talk.client, _Control(reception), NativeSettings(garbage_bytes=4096))
    demux.attach(reception, 0, 1)
    cuts = draw.take(4) or b"\xff"
    stream = _stream_of(codec, draw)
    least = 1 + len(stream) // _MOST_PIECES
    rest, at, turn = b"", 0, 0
    while at < len(stream):
        size = max(least, 1 + 16 * cuts[turn % len(cuts)])
        piece = rest + stream[at : at + size]
        at, turn = at + size, turn + 1
        rest = _consume(demux, talk, piece, paused=turn % 5 == 0)
        reception.deliver(_START_US)
        if talk.client._is_over:
            return
    reception.receiver_report(7, 1_000_000)
    reception.finish(_START_US)


def _consume(demux: Demultiplexer, talk: Conversation, piece: bytes, *, paused: bool) -> bytes:
    buffer = bytearray(piece + b"$\0\0")
    position = 0
    while position < len(piece):
        taken = demux.consume(buffer, position, len(piece), 0, paused=paused)
        promise(position <= taken <= len(piece), "it stops within its bytes")
        had_events = talk.client.has_events
        talk._collect()
        if taken == position and not had_events:
            break
        position = taken
    promise(len(piece) - position <= 65_539 + 32_768 + 262_144, "what waits is bounded")
    return piece[position:]


def _stream_of(codec: VideoCodec, draw: Draw) -> bytes:
    between = [draw.block()[:40] for _ in range(draw.below(4))]
    messages = (
        b"RTSP/1.0 200 OK\r\nCSeq: 99\r\n\r\n", b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n$\0abc", b"\r\n", b"$\1\0\4\x80\xcb\0\0",
        b"$\1\0\x1c\x80\xc8\0\6" + bytes(range(24)), b"$\5\0\2zz", b"GARBAGE",
    )  # fmt: skip
    choices = draw.take(6)
    packets = list(WildCamera(codec, draw, _FEW_PACKETS).packets())
    pieces = [interleave([packet]) for packet in packets]
    for number, choice in enumerate(choices):
        extra = (*messages, *between)[choice % (len(messages) + len(between))]
        pieces.insert((choice * 7 + number) % (len(pieces) + 1), extra)
    return b"".join(pieces)


_WORDS: Final = tuple(nal for sets in SETS.values() for each in sets for nal in each)
TARGETS: Final = (
    Target("write-path", _runs, (), True, 96, _WORDS),
    Target("delivery", _delivery, (), True, 96, _WORDS),
    Target("reordering", _reordering, (), True, 96),
    Target("connection", _connection, (RtspError,), True, 96, _WORDS),
)
