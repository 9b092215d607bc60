"""Parameter sets of real encoders, read by us and by libav."""

import base64
import contextlib
from fractions import Fraction
from typing import Any

import av
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from long_forms import examples
from unit.media import made_sets
from unit.media.encoded import encode
from vigie.media import h264, h265
from vigie.media.bits import BitReader, remove_emulation_prevention
from vigie.media.codec import VideoCodec
from vigie.media.errors import MalformedMedia, MediaError, MediaReason, UnsupportedMedia
from vigie.media.parameters import (
    ParameterSetCollector,
    ParameterSets,
    parameter_sets_from_fmtp,
)


def sets_of(codec: VideoCodec, **options: Any) -> ParameterSets:
    collector = ParameterSetCollector(codec)
    for nal in encode(codec, frames=3, **options)[0].nals:
        collector.add(nal)
    return collector.current()


@pytest.mark.parametrize("codec", list(VideoCodec))
@pytest.mark.parametrize("size", ["320x180", "1280x720", "1920x1080", "322x242"])
@pytest.mark.parametrize("b_frames", [0, 3])
def test_picture_size_rate_and_reordering(codec: VideoCodec, size: str, b_frames: int) -> None:
    info = sets_of(codec, size=size, b_frames=b_frames).configuration.info
    assert f"{info.width}x{info.height}" == size
    assert info.frame_duration == Fraction(1, 25)
    assert info.reorder_frames is not None
    assert (info.reorder_frames > 0) == (b_frames > 0)
    assert info.pixel_aspect == (1, 1)
    assert not info.fields


def test_codec_strings_follow_rfc_6381() -> None:
    string = sets_of(VideoCodec.H264, b_frames=3).configuration.codec_string
    assert string.startswith("avc1.6400")
    assert len(string) == len("avc1.640028")
    assert sets_of(VideoCodec.H265).configuration.codec_string.startswith("hvc1.1.6.L")


def test_codec_string_drops_trailing_zero_constraints_and_reverses_flags() -> None:
    general = h265.ProfileTierLevel(0x21, 0x60000000, 0xB00000000000, 93)
    assert h265.codec_string(general) == "hvc1.1.6.H93.B0"
    assert h265.codec_string(general._replace(space_tier_profile=0x42)) == "hvc1.A2.6.L93.B0"


@pytest.mark.parametrize("codec", list(VideoCodec))
def test_libav_decodes_with_our_configuration_record(codec: VideoCodec) -> None:
    units = encode(codec, frames=3)
    configuration = sets_of(codec).configuration
    context = av.CodecContext.create("h264" if codec is VideoCodec.H264 else "hevc", "r")
    context.extradata = configuration.record
    frames = [frame for unit in units for frame in context.decode(av.Packet(unit.data))]
    frames += context.decode(None)
    assert [(frame.width, frame.height) for frame in frames] == [(320, 180)] * 3


@pytest.mark.parametrize("codec", list(VideoCodec))
def test_sets_survive_the_record(codec: VideoCodec) -> None:
    sets = sets_of(codec)
    record = sets.configuration.record
    again = ParameterSets.from_configuration(codec, record)
    assert again == sets
    assert again.configuration == sets.configuration
    for end in range(len(record) - 4):
        with pytest.raises(MalformedMedia):
            _ = ParameterSets.from_configuration(codec, record[:end]).configuration


def test_sets_come_from_the_session_description() -> None:
    sets = sets_of(VideoCodec.H264)
    encoded = ",".join(base64.b64encode(nal).decode() for nal in (*sets.sps, *sets.pps))
    fmtp = {"packetization-mode": "1", "sprop-parameter-sets": encoded}
    assert parameter_sets_from_fmtp(VideoCodec.H264, fmtp) == sets
    sets = sets_of(VideoCodec.H265)
    names = ("sprop-vps", "sprop-sps", "sprop-pps")
    nals = (sets.vps[0], sets.sps[0], sets.pps[0])
    fmtp = {name: base64.b64encode(nal).decode() for name, nal in zip(names, nals, strict=True)}
    assert parameter_sets_from_fmtp(VideoCodec.H265, fmtp) == sets
    assert parameter_sets_from_fmtp(VideoCodec.H265, {}) is None


def test_interleaved_streams_are_refused_before_they_start() -> None:
    with pytest.raises(UnsupportedMedia):
        parameter_sets_from_fmtp(VideoCodec.H264, {"packetization-mode": "2"})
    with pytest.raises(UnsupportedMedia):
        parameter_sets_from_fmtp(VideoCodec.H265, {"sprop-max-don-diff": "1"})
    with pytest.raises(MalformedMedia):
        parameter_sets_from_fmtp(VideoCodec.H264, {"sprop-parameter-sets": "!!"})


def test_a_set_replaces_the_one_of_its_number_and_says_so() -> None:
    collector = ParameterSetCollector(VideoCodec.H264, sets_of(VideoCodec.H264))
    before = collector.current()
    for nal in (*before.sps, *before.pps):
        collector.add(nal)
    unchanged = not collector.changed
    for nal in sets_of(VideoCodec.H264, size="640x360").sps:
        collector.add(nal)
    assert unchanged
    assert collector.changed
    assert len(collector.current().sps) == 1


def test_emulation_prevention_is_removed() -> None:
    assert remove_emulation_prevention(b"\0\0\3\1\0\0\3\0\0\3") == b"\0\0\1\0\0\0\0"
    assert remove_emulation_prevention(b"\1\2\3") == b"\1\2\3"


def test_exp_golomb_codes() -> None:
    reader = BitReader(bytes((0b1_010_011_0, 0b0100_0010, 0b1_0000000)), 0, "test")
    assert [reader.unsigned() for _ in range(4)] == [0, 1, 2, 3]
    assert reader.signed() == -2
    with pytest.raises(MalformedMedia):
        BitReader(bytes(8), 0, "test").unsigned()


@pytest.mark.parametrize(
    ("bits", "offset", "reason"),
    [
        ("0" * 33 + "1" * 39, 4, MediaReason.MALFORMED),  # longer than any code
        ("0" * 33 + "1" * 7, 4, MediaReason.MALFORMED),
        ("0" * 32, 0, MediaReason.TRUNCATED),  # its 1 does not come
        ("0" * 8, 0, MediaReason.TRUNCATED),
        ("0" * 4 + "1" * 4, 0, MediaReason.TRUNCATED),  # what follows the 1 does not
    ],
)
@pytest.mark.parametrize("before", [0, 2])
def test_codes_that_are_too_long_or_cut_short_are_refused_where_they_are(
    bits: str, offset: int, reason: MediaReason, before: int
) -> None:
    data = b"\xff" * before + int(bits, 2).to_bytes(len(bits) // 8)
    for read in (BitReader.unsigned, lambda reader: reader.skip_codes(1)):
        reader = BitReader(data, 0, "test")
        reader.skip(8 * before)
        with pytest.raises(MalformedMedia) as refused:
            read(reader)
        assert refused.value.reason is reason
        assert refused.value.offset == before + offset


def test_codes_of_the_longest_kind_are_read() -> None:
    data = int("0" * 32 + "1" * 33 + "1" * 7, 2).to_bytes(9)
    assert BitReader(data, 0, "test").unsigned() == (1 << 33) - 2
    reader = BitReader(data, 0, "test")
    reader.skip_codes(8)
    with pytest.raises(MalformedMedia):
        reader.skip(1)


def short_term_sets(negative: int, positive: int, more: str = "") -> str:
    """A reference picture set of so many pictures before and behind, and the bits of one more."""
    count = made_sets.ue(1 + bool(more))
    first = made_sets.ue(negative) + made_sets.ue(positive)
    return count + first + (made_sets.ue(0) + "1") * (negative + positive) + more


@pytest.mark.parametrize(("positive", "fits"), [(7, True), (8, False)])
def test_a_reference_picture_set_has_sixteen_pictures_at_most(positive: int, *, fits: bool) -> None:
    sps = made_sets.sps(VideoCodec.H265, 0, 640, 480, short_term_sets(9, positive))
    if fits:
        assert h265.parse_sps(sps).info.width == 640
    else:
        with pytest.raises(MalformedMedia, match="num_positive_pics"):
            h265.parse_sps(sps)


@pytest.mark.parametrize(("flags", "fits"), [("1" * 16 + "00", True), ("1" * 17, False)])
def test_nor_has_one_that_is_told_by_the_one_before_more(flags: str, *, fits: bool) -> None:
    """Else each could be larger by one than the one before, and cost that much to read."""
    predicted = "1" + "0" + made_sets.ue(0) + flags
    references = short_term_sets(9, 7, predicted)
    sps = made_sets.sps(VideoCodec.H265, 0, 640, 480, references)
    if fits:
        assert h265.parse_sps(sps).info.width == 640
    else:
        with pytest.raises(MalformedMedia, match="17 pictures"):
            h265.parse_sps(sps)


def test_only_a_recovery_point_without_delay_is_one() -> None:
    assert h264.recovery_frame_count(b"\x06\x06\x01\xc4\x80") == 0
    assert h264.recovery_frame_count(b"\x06\x06\x01\x54\x80") == 1
    assert h264.recovery_frame_count(b"\x06\x05\x02\xaa\xbb\x06\x01\xc4\x80") == 0
    assert h264.recovery_frame_count(b"\x06\x05\x02\xaa\xbb\x80") is None
    assert h264.recovery_frame_count(b"\x06\xff") is None


@given(
    st.sampled_from(list(VideoCodec)),
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 255)), min_size=1, max_size=8),
    st.integers(2, 80),
)
@settings(max_examples=examples(100), deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_damaged_sets_are_read_or_refused(
    codec: VideoCodec, patches: list[tuple[int, int]], length: int
) -> None:
    nal = bytearray(sets_of(codec, b_frames=3).sps[0])
    for position, value in patches:
        nal[position % len(nal)] = value
    parse = h264.parse_sps if codec is VideoCodec.H264 else h265.parse_sps
    try:
        info = parse(bytes(nal[:length])).info
    except MediaError:
        return
    assert info.width > 0
    assert info.height > 0


@given(st.sampled_from(list(VideoCodec)), st.binary(max_size=60))
def test_random_records_are_read_or_refused(codec: VideoCodec, record: bytes) -> None:
    with contextlib.suppress(MediaError):
        _ = ParameterSets.from_configuration(codec, b"\x01" + record).configuration
