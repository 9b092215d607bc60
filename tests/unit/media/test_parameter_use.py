"""A run is described by the parameter sets that its key frames use, not by all that ever came."""

from unittest.mock import patch

import pytest

from unit.media import made_sets
from unit.media.encoded import FRAME_TICKS, AccessUnit, encode
from unit.media.received import finish, packets_of, push_all
from vigie.media import h264, h265
from vigie.media.bits import MAX_PARAMETER_SET_BYTES
from vigie.media.codec import VideoCodec
from vigie.media.depacketize import make_depacketizer
from vigie.media.errors import MalformedMedia, MediaReason
from vigie.media.gop import Discontinuity, Gop
from vigie.media.parameters import ParameterSetCollector, ParameterSets

H264, H265 = VideoCodec.H264, VideoCodec.H265
CODECS = pytest.mark.parametrize("codec", [H264, H265])
SMALL, LARGE = (640, 480), (1920, 1088)


def sets(codec: VideoCodec, number: int, size: tuple[int, int]) -> tuple[bytes, ...]:
    """The sets of one number, as they come before a key frame."""
    both = made_sets.sps(codec, number, *size), made_sets.pps(codec, number, number)
    return both if codec is H264 else (made_sets.vps(), *both)


def announced(codec: VideoCodec, *nals: bytes) -> ParameterSets:
    collector = ParameterSetCollector(codec)
    for nal in nals:
        collector.add(nal)
    return collector.current()


def receive(
    codec: VideoCodec,
    groups: list[tuple[tuple[bytes, ...], int]],
    parameters: ParameterSets | None = None,
) -> list[Gop | Discontinuity]:
    """Groups of three frames: the sets before each key frame, and the PPS that it names."""
    units = []
    for at, (before, number) in enumerate(groups):
        first = 3 * at * FRAME_TICKS
        units.append(AccessUnit(first, (*before, made_sets.key_slice(codec, number))))
        units += [
            AccessUnit(first + more * FRAME_TICKS, (made_sets.other_slice(codec),))
            for more in (1, 2)
        ]
    reader = make_depacketizer(codec, 96, parameters)
    return [*push_all(reader, packets_of(codec, units)), *finish(reader)]


def groups_of(items: list[Gop | Discontinuity]) -> list[Gop]:
    gops = [item for item in items if isinstance(item, Gop)]
    assert len(gops) == len(items)
    assert all(len(gop) == 3 for gop in gops)
    return gops


def sizes(gops: list[Gop]) -> list[tuple[int, int]]:
    found = [gop.parameters.configuration for gop in gops]
    return [(each.width, each.height) for each in found]


@CODECS
def test_a_key_frame_that_goes_over_to_other_sets_begins_a_run_of_their_size(
    codec: VideoCodec,
) -> None:
    small, large = sets(codec, 0, SMALL), sets(codec, 1, LARGE)
    gops = groups_of(receive(codec, [(small, 0), (large, 1), (large, 1), (small, 0)]))
    assert sizes(gops) == [SMALL, LARGE, LARGE, SMALL]
    assert [gop.starts_run for gop in gops] == [True, True, False, True]
    assert [len(gop.parameters.sps) for gop in gops] == [1] * 4
    for gop in gops:
        record = gop.parameters.configuration.record
        again = ParameterSets.from_configuration(codec, record)
        assert again.configuration == gop.parameters.configuration


@CODECS
def test_announced_sets_that_no_frame_uses_say_nothing_of_the_stream(codec: VideoCodec) -> None:
    small, large = sets(codec, 0, SMALL), sets(codec, 1, LARGE)
    gops = groups_of(receive(codec, [(large, 1), ((), 1)], announced(codec, *small)))
    assert sizes(gops) == [LARGE, LARGE]
    assert [gop.starts_run for gop in gops] == [True, False]
    gops = groups_of(receive(codec, [((), 1), ((), 0)], announced(codec, *small, *large)))
    assert sizes(gops) == [LARGE, SMALL]


@CODECS
def test_sets_of_another_picture_that_merely_come_by_end_no_run(codec: VideoCodec) -> None:
    small, large = sets(codec, 0, SMALL), sets(codec, 1, LARGE)
    gops = groups_of(receive(codec, [(small, 0), ((*small, *large), 0), (small, 0)]))
    assert [gop.starts_run for gop in gops] == [True, False, False]


@CODECS
def test_sets_with_ever_new_numbers_are_taken_for_as_long_as_they_come(codec: VideoCodec) -> None:
    start = sets(codec, 0, SMALL)
    more = [((*start[:-1], made_sets.pps(codec, number, 0)), number) for number in range(60)]
    gops = groups_of(receive(codec, more))
    assert len(gops) == 60
    assert set(sizes(gops)) == {SMALL}
    assert max(len(gop.parameters.pps) for gop in gops) < 31


@CODECS
def test_sets_that_a_key_frame_uses_outlast_any_number_of_others(codec: VideoCodec) -> None:
    large = sets(codec, 7, LARGE)
    others = tuple(made_sets.pps(codec, number, 3) for number in range(8, 48))
    gops = groups_of(receive(codec, [((), 7), (others, 7), ((), 7)], announced(codec, *large)))
    assert sizes(gops) == [LARGE] * 3
    assert [gop.starts_run for gop in gops] == [True, False, False]


@CODECS
def test_where_sets_become_too_many_the_one_not_seen_for_longest_goes(codec: VideoCodec) -> None:
    pps = [made_sets.pps(codec, number, 0) for number in range(32)]
    collector = ParameterSetCollector(codec)
    for nal in (*pps[:31], pps[0], pps[31]):
        collector.add(nal)
    assert collector.current().pps == (pps[0], *pps[2:])


@CODECS
@pytest.mark.parametrize(("before", "found"), [(63, True), (64, False)])
def test_the_first_slice_is_looked_for_behind_so_many_units_only(
    codec: VideoCodec, before: int, *, found: bool
) -> None:
    """Behind more of them nobody knows what it refers to: all sets that came are kept."""
    small, large = sets(codec, 0, SMALL), sets(codec, 1, LARGE)
    collector = ParameterSetCollector(codec, announced(codec, *small, *large))
    delimiter = b"\x09\xf0" if codec is H264 else b"\x46\x01\x50"
    frame = AccessUnit(0, (*[delimiter] * before, made_sets.key_slice(codec, 1))).data
    used = collector.used_by(frame)
    assert used.pps == ((large[-1],) if found else (small[-1], large[-1]))


@CODECS
def test_frames_behind_may_use_another_set_of_the_same_picture(codec: VideoCodec) -> None:
    start, second = sets(codec, 0, SMALL), made_sets.pps(codec, 5, 0)
    gops = groups_of(receive(codec, [((*start, second), 0), (start, 5)]))
    assert [gop.parameters.pps for gop in gops] == [(start[-1], second)] * 2
    in_turn = (*start, *sets(codec, 1, SMALL))
    gops = groups_of(receive(codec, [(in_turn, 0), ((), 1), ((), 0)]))
    assert [gop.starts_run for gop in gops] == [True, False, False]
    assert [len(gop.parameters.sps) for gop in gops] == [2, 2, 2]


@CODECS
def test_a_set_with_the_number_of_another_replaces_it(codec: VideoCodec) -> None:
    gops = groups_of(receive(codec, [(sets(codec, 0, SMALL), 0), (sets(codec, 0, LARGE), 0)]))
    assert sizes(gops) == [SMALL, LARGE]
    assert gops[1].starts_run


@CODECS
def test_a_key_frame_of_sets_that_never_came_is_recorded_as_it_came(codec: VideoCodec) -> None:
    gops = groups_of(receive(codec, [(sets(codec, 0, SMALL), 9)]))
    assert sizes(gops) == [SMALL]


@CODECS
def test_the_sets_of_real_key_frames_are_found(codec: VideoCodec) -> None:
    read = h264.slice_pps_identifier if codec is H264 else h265.slice_pps_identifier
    for options in ({}, {"b_frames": 2, "open_gop": True}):
        for unit in encode(codec, **options):
            assert read(unit.nals[-1]) == 0


@CODECS
def test_a_repeated_set_is_not_read_again(codec: VideoCodec) -> None:
    module = h264 if codec is H264 else h265
    collector = ParameterSetCollector(codec)
    with patch.object(module, "parse_sps", wraps=module.parse_sps) as parse:
        for _ in range(3):
            for nal in sets(codec, 0, SMALL):
                collector.add(nal)
    assert parse.call_count == 1


def test_a_set_with_all_scaling_lists_is_small_enough_and_one_without_end_is_not() -> None:
    code = made_sets.ue(2 * 128)  # -128, of the longest code
    lists = "".join("1" + code * (16 if index < 6 else 64) for index in range(8))
    bits = made_sets.ue(0) + made_sets.ue(1) + made_sets.ue(0) * 2 + "0" + "1" + lists
    bits += made_sets.ue(0) + made_sets.ue(2) + made_sets.ue(1) + "0" + made_sets.ue(39)
    bits += made_sets.ue(29) + "1" + "1" + "0" + "0"
    full = made_sets.nal(bytes((0x67, 100, 0, 30)), bits)
    assert 480 < len(full) < MAX_PARAMETER_SET_BYTES
    assert h264.parse_sps(full).info.width == 640
    collector = ParameterSetCollector(H264)
    collector.add(full)
    with pytest.raises(MalformedMedia) as refused:
        collector.add(full + bytes((1,)) * 2048)
    assert refused.value.reason is MediaReason.TOO_LARGE
