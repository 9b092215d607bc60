"""What is written is read back, by us and by libav, and damaged files are refused by name."""

import base64
import contextlib
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ffmpeg_reading import complaints
from long_forms import examples
from unit.media.encoded import FRAME_TICKS, encode
from unit.media.recorded import PRFT, START_US, libav_sees, record
from vigie.media import annexb
from vigie.media.bmff.boxes import box, full_box, iter_boxes
from vigie.media.bmff.fragment import build_fragment
from vigie.media.bmff.header import build_header, content_type
from vigie.media.bmff.randomaccess import RandomAccessTable
from vigie.media.bmff.reader import (
    ReadRequest,
    Steps,
    drive,
    drive_async,
    fragment_steps,
    header_steps,
    mfra_steps,
    read_fragments,
    read_header,
    read_mfra,
)
from vigie.media.codec import VideoCodec
from vigie.media.errors import MalformedMedia, MediaError, MediaReason, UnsupportedMedia
from vigie.media.timing import SampleTable

CODECS = pytest.mark.parametrize("codec", list(VideoCodec))
VARIANTS = pytest.mark.parametrize(
    "options", [{}, {"b_frames": 3}, {"b_frames": 2, "open_gop": True}, {"size": "1280x720"}]
)


@CODECS
@VARIANTS
def test_segments_are_read_without_a_warning_and_frames_have_their_times(
    codec: VideoCodec, options: dict[str, Any], tmp_path: Path
) -> None:
    units = encode(codec, **options)
    segments = record(codec, units, gops_per_segment=4)
    assert len(segments) == 1
    data = segments[0].data
    assert complaints(data, tmp_path) == ""
    seen = libav_sees(data)
    assert seen.times == [index * FRAME_TICKS for index in range(len(units))]
    assert seen.packets == [unit.data for unit in units]


@CODECS
@pytest.mark.parametrize("options", [{}, {"b_frames": 3}])
def test_segments_of_one_span_concatenate(
    codec: VideoCodec, options: dict[str, Any], tmp_path: Path
) -> None:
    """Fragments of a span are presentable with the movie box of any of its segments (ONVIF)."""
    units = encode(codec, **options)
    segments = record(codec, units, gops_per_segment=1)
    header = read_header(segments[-1].data)
    joined = header.data
    for segment in segments:
        fragments = read_fragments(segment.data)
        joined += segment.data[fragments[0].offset : fragments[-1].end]
    assert complaints(joined, tmp_path) == ""
    seen = libav_sees(joined)
    assert seen.times == [index * FRAME_TICKS for index in range(len(units))]
    assert {read_header(segment.data).data for segment in segments} == {header.data}


@CODECS
def test_what_is_written_is_what_is_read(codec: VideoCodec) -> None:
    units = encode(codec, b_frames=2)
    (segment,) = record(codec, units, gops_per_segment=4)
    header = read_header(segment.data)
    assert (header.width, header.height, header.timescale) == (320, 180, 90_000)
    assert header.presentation_delay > 0
    assert header.size_bytes == len(header.data)
    fragments = read_fragments(segment.data, header)
    assert [fragment.sequence_number for fragment in fragments] == [1, 2, 3, 4]
    assert fragments[0].offset == header.size_bytes
    position = 0
    media = b""
    for fragment, entry in zip(fragments, read_mfra(segment.data), strict=True):
        assert fragment.base_decode_time == position
        assert fragment.wall_us == START_US + position * 100 // 9
        assert fragment.moof_offset == fragment.offset + PRFT == entry.moof_offset
        assert entry.time == fragment.base_decode_time
        assert fragment.table.sync == [True] + [False] * 14
        position = fragment.end_decode_time
        media += segment.data[fragment.data_offset : fragment.data_offset + fragment.data_size]
    assert media == b"".join(unit.data for unit in units)
    nals = annexb.nal_units(annexb.to_annexb(media))
    assert nals == [nal for unit in units for nal in unit.nals]


def test_reading_by_ranges_takes_one_range_a_fragment() -> None:
    (segment,) = record(VideoCodec.H264, encode(VideoCodec.H264), gops_per_segment=4)
    asked: list[ReadRequest] = []

    def read(offset: int, length: int) -> bytes:
        asked.append(ReadRequest(offset, length))
        return segment.data[offset : offset + length]

    header = drive(header_steps(len(segment.data)), read)
    fragments = drive(fragment_steps(len(segment.data), header), read)
    assert len(fragments) == 4
    assert len(asked) <= 1 + 4 + 1
    assert sum(request.length for request in asked) < 50_000
    middle = drive(fragment_steps(len(segment.data), header, start=fragments[2].offset), read)
    assert middle == fragments[2:]


async def test_the_same_parser_awaits_its_ranges() -> None:
    (segment,) = record(VideoCodec.H264, encode(VideoCodec.H264), gops_per_segment=4)

    async def read(offset: int, length: int) -> bytes:
        return segment.data[offset : offset + length]

    steps: Steps[object] = mfra_steps(len(segment.data))
    assert await drive_async(steps, read) == read_mfra(segment.data)


def test_a_source_that_gives_too_little_is_an_error() -> None:
    with pytest.raises(MalformedMedia, match="asked for"):
        drive(header_steps(5000), lambda _offset, _length: b"short")


def test_the_seek_table_is_short_and_begins_with_the_first_fragment() -> None:
    table = RandomAccessTable()
    for index in range(301):
        table.append(index * 90_000, 1000 + index * 7)
    data = base64.b64decode(table.seek_table(), validate=True)
    (whole,) = iter_boxes(data, 0, len(data))
    (inner,) = iter_boxes(data, whole.body, whole.end)
    assert (whole.kind, inner.kind) == (b"mfra", b"tfra")
    count = struct.unpack_from("!I", data, inner.body + 12)[0]
    assert 1 < count <= 20
    assert struct.unpack_from("!QQ", data, inner.body + 16) == (0, 1000)
    assert read_mfra(b"x" * 50 + table.mfra()) == table.entries
    assert read_mfra(b"no table at the end of this file") == []


def test_the_content_type_names_the_codec() -> None:
    (segment,) = record(VideoCodec.H264, encode(VideoCodec.H264), gops_per_segment=4)
    configuration = read_header(segment.data).configuration
    assert content_type(configuration) == f'video/mp4; codecs="{configuration.codec_string}"'
    assert b"btrt" in build_header(configuration, bitrate=4_000_000)


def test_protection_contributes_its_boxes_and_moves_the_data() -> None:
    class Marked:
        def sample_entry_type(self, original: bytes) -> bytes:
            return b"encv"

        def sample_entry_boxes(self, original: bytes) -> bytes:
            return box(b"sinf", box(b"frma", original))

        def movie_boxes(self) -> bytes:
            return full_box(b"pssh", 1, 0, bytes(24))

        def track_fragment_boxes(self, table: SampleTable, offset: int) -> bytes:
            self.offset = offset
            return full_box(b"senc", 0, 0, bytes(4))

    (segment,) = record(VideoCodec.H264, encode(VideoCodec.H264), gops_per_segment=4)
    header = read_header(segment.data)
    protection = Marked()
    protected = build_header(header.configuration, protection=protection)
    assert b"pssh" in protected
    with pytest.raises(UnsupportedMedia):
        read_header(protected)
    table = SampleTable([1], [5], [0], [True])
    fragment = build_fragment(table, 1, 0, protection=protection)
    assert fragment[protection.offset + 4 : protection.offset + 8] == b"senc"
    (found,) = read_fragments(header.data + fragment + b"abcde", header)
    assert found.data_offset == len(header.data + fragment)


@CODECS
@given(data=st.data())
@settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_files_are_read_or_refused(codec: VideoCodec, data: st.DataObject) -> None:
    (segment,) = record(codec, encode(codec, frames=30, b_frames=2), gops_per_segment=9)
    raw = bytearray(segment.data)
    fragments = read_fragments(segment.data)
    boxes = list(range(fragments[0].data_offset))
    boxes += range(fragments[1].offset, fragments[1].data_offset)
    boxes += range(fragments[-1].end, len(raw))
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.sampled_from(boxes))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(len(raw) // 2, len(raw))) :]
    for read in (read_fragments, read_mfra):
        with contextlib.suppress(MediaError):
            read(bytes(raw))


@given(st.binary(max_size=200))
def test_random_bytes_are_no_file(data: bytes) -> None:
    with pytest.raises(MediaError):
        read_header(data)


def test_errors_name_the_box_and_where_it_is() -> None:
    (segment,) = record(VideoCodec.H264, encode(VideoCodec.H264), gops_per_segment=4)
    fragments = read_fragments(segment.data)
    cut = segment.data[: fragments[1].end - 1]
    with pytest.raises(MalformedMedia) as caught:
        read_fragments(cut)
    assert caught.value.path == "mdat"
    assert fragments[1].moof_offset < caught.value.offset < fragments[1].end
    raw = bytearray(segment.data)
    raw[segment.data.index(b"trun") + 11] += 1
    with pytest.raises(MalformedMedia) as caught:
        read_fragments(bytes(raw))
    assert caught.value.path == "moof/traf/trun"


def fragment_of(count: int, *, size: int, media: bytes) -> bytes:
    """A fragment that states ``count`` samples of one ``size`` in as few bytes as there can be."""
    track = full_box(b"tfhd", 0, 0x020010, struct.pack("!II", 1, size))
    time = full_box(b"tfdt", 1, 0, bytes(8))
    run = full_box(b"trun", 0, 1, struct.pack("!Ii", count, 100))
    sequence = full_box(b"mfhd", 0, 0, struct.pack("!I", 1))
    moof = box(b"moof", sequence, box(b"traf", track, time, run))
    assert len(moof) == 100 - 8
    return moof + box(b"mdat", media)


@pytest.mark.parametrize("size", [0, 1, 4, 5])
def test_a_small_file_does_not_state_more_samples_than_it_has_bytes_for(size: int) -> None:
    header = read_header(record(VideoCodec.H264, encode(VideoCodec.H264))[0].data)
    data = header.data + fragment_of(200_000, size=size, media=b"") * 40
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMedia) as caught:
            read_fragments(data, header)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()
    assert caught.value.reason is MediaReason.MALFORMED


@pytest.mark.parametrize(("count", "size"), [(40, 0), (40, 4), (33, 6), (2, 101)])
def test_samples_need_their_bytes_in_the_media_data_of_their_fragment(
    count: int, size: int
) -> None:
    header = read_header(record(VideoCodec.H264, encode(VideoCodec.H264))[0].data)
    one = fragment_of(count, size=size, media=bytes(197))
    with pytest.raises(MalformedMedia) as caught:
        read_fragments(header.data + one * 3, header)
    assert caught.value.reason is MediaReason.MALFORMED


def test_samples_of_the_least_size_there_is_are_read() -> None:
    header = read_header(record(VideoCodec.H264, encode(VideoCodec.H264))[0].data)
    found = read_fragments(header.data + fragment_of(40, size=5, media=bytes(200)) * 3, header)
    assert [fragment.table.sizes for fragment in found] == [[5] * 40] * 3


def test_lengths_that_lead_beyond_the_sample_are_refused() -> None:
    with pytest.raises(MalformedMedia):
        list(annexb.split(b"\0\0\0\5abc"))
    with pytest.raises(MalformedMedia):
        annexb.to_annexb(b"\0\0\0")
