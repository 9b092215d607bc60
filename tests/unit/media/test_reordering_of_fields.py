"""The order of presentation of fields: pictures of half a frame, with timestamps of their own."""

from collections.abc import Iterable

import pytest

from unit.media.encoded import AccessUnit, Packetiser
from unit.media.received import finish, push_all
from unit.media.reordered import (
    BASE,
    FRAME,
    JUMP,
    NEEDED,
    PPS,
    Bits,
    assert_in_order_without_a_hole,
    frame,
    moved,
    reader,
    reasons,
    received,
    runs,
    stream,
)
from vigie.media.codec import VideoCodec
from vigie.media.gop import Discontinuity, DiscontinuityReason, Gop
from vigie.media.h264 import parse_sps


def sps_of_fields(reorder: int | None) -> bytes:
    """1920x1088, of Main profile, fields."""
    bits = Bits().u(8, 77).u(8, 0).u(8, 40).ue(0, 0, 0, 0, 4).u(1, 0).ue(119, 33)
    bits.u(5, 0b00101)  # fields, none within a frame, direct inference; no cropping; a VUI
    bits.u(4, 0).u(1, 0).u(3, 0).u(1, reorder is not None)
    if reorder is not None:
        bits.u(1, 1).ue(0, 0, 10, 10, reorder, 4)
    return bits.nal(b"\x67")


def field(number: int, ticks: int, head: int, frame_number: int, *, bottom: bool) -> AccessUnit:
    """A slice of a field (clause 7.3.3); ``head``: the byte of its NAL unit."""
    bits = Bits().ue(0, 7, 0).u(4, frame_number % 16).u(1, 1).u(1, bottom)
    picture = bits.nal(bytes((head,))) + number.to_bytes(4, "big") + b"\xaa" * 8
    return AccessUnit(BASE + ticks, (picture,))


def fields_of(
    units: Iterable[AccessUnit], declared: bytes, *, shared: bool = False
) -> list[AccessUnit]:
    """Each frame as two fields, with timestamps of their own (RFC 6184, section 5.1) or one."""
    found: list[AccessUnit] = []
    references, latest = 0, -1
    for unit in units:
        place = (unit.timestamp - BASE) // FRAME
        key, is_reference = len(unit.nals) > 1, place > latest
        references = 0 if key else references
        heads = (0x65, 0x41) if key else (0x41, 0x41) if is_reference else (0x01, 0x01)
        for bottom, head in enumerate(heads):
            number = 2 * place + bottom
            ticks = place * FRAME if shared else number * FRAME // 2
            made = field(number, ticks, head, references, bottom=bool(bottom))
            first = key and not bottom
            found.append(AccessUnit(made.timestamp, (declared, PPS, *made.nals)) if first else made)
        references += is_reference
        latest = max(latest, place)
    return found


def of_fields(shape: str, plain: int, declared: bytes) -> list[AccessUnit]:
    """Four times: a group without B-frames, so long, then one with them."""
    units: list[AccessUnit] = []
    place = 0
    for _ in range(4):
        group = [*stream("none", 1, plain, declared), *stream(shape, 1, 6, declared)[1:]]
        steps = [(unit.timestamp - BASE) // FRAME for unit in group]
        steps[plain + 1 :] = [step + plain for step in steps[plain + 1 :]]
        units += [
            frame(place + step, (place + step) * FRAME, key=not step, declared=declared)
            for step in steps
        ]
        place += max(steps) + 1
    return fields_of(units, declared)


@pytest.mark.parametrize("plain", [5, 18, 25])
@pytest.mark.parametrize("reorder", [None, 1, 2])
@pytest.mark.parametrize("shape", ["one", "two"])
def test_fields_whose_b_frames_begin_late_lose_nothing(
    shape: str, reorder: int | None, plain: int
) -> None:
    assert parse_sps(sps_of_fields(reorder)).info.fields
    units = of_fields(shape, plain, sps_of_fields(reorder))
    items = received(units)
    assert reasons(items) == []
    assert runs(items) == [list(range(len(units)))]


@pytest.mark.parametrize("shape", ["one", "two", "pyramid"])
def test_undeclared_b_frames_of_fields_lose_nothing(shape: str) -> None:
    declared = sps_of_fields(0)
    units = fields_of(stream(shape, 6, 6, declared), declared)
    items = received(units)
    assert reasons(items) == []
    assert runs(items) == [list(range(len(units)))]


@pytest.mark.parametrize("back", [10, 20])
def test_a_clock_of_fields_that_is_set_back_ends_the_run(back: int) -> None:
    declared = sps_of_fields(1)
    units = fields_of(stream("none", 4, 24, declared), declared)
    items = received([*units[:120], *moved(units[120:], -back * FRAME)])
    assert reasons(items) == [JUMP]
    assert runs(items) == [list(range(120)), list(range(150, 200))]


def lossy(units: list[AccessUnit], lost: set[int]) -> list[Gop | Discontinuity]:
    packetiser = Packetiser(VideoCodec.H264)
    packets = [packetiser.packets(unit) for unit in units]
    to = reader()
    flat = [p for at, of_unit in enumerate(packets) if at not in lost for p in of_unit]
    return [*push_all(to, flat), *finish(to)]


@pytest.mark.parametrize("reorder", [0, 1, None])
@pytest.mark.parametrize("shape", ["none", "one", "two", "pyramid"])
def test_nothing_is_missing_inside_a_run_whichever_field_is_lost(
    shape: str, reorder: int | None
) -> None:
    declared = sps_of_fields(reorder)
    units = fields_of(stream(shape, 3, 3, declared), declared)
    # Before the first B-frame nobody knows of one in a stream that declares none.
    for lost in range(2 if reorder != 0 else 12, len(units) - 1):
        items = lossy(units, {lost})
        assert set(reasons(items)) <= {DiscontinuityReason.PACKETS_LOST}
        assert_in_order_without_a_hole(items)


@pytest.mark.parametrize("shape", ["none", "one", "two", "pyramid"])
def test_nothing_is_missing_inside_a_run_of_fields_with_one_timestamp(shape: str) -> None:
    declared = sps_of_fields(NEEDED[shape])
    units = fields_of(stream(shape, 3, 3, declared), declared, shared=True)
    for lost in range(1, len(units) // 2 - 1):
        items = lossy(units, {2 * lost, 2 * lost + 1})
        for run in runs(items):
            assert run == list(range(run[0], run[-1] + 1, 2))


@pytest.mark.parametrize("shape", ["none", "one", "two", "pyramid"])
def test_frames_of_a_stream_that_may_have_fields_are_no_fields(shape: str) -> None:
    """As encoders send them that choose by macroblock (MBAFF)."""
    declared = sps_of_fields(NEEDED[shape])
    units = stream(shape, 3, 3, declared)
    for lost in range(1, len(units) - 1):
        assert_in_order_without_a_hole(lossy(units, {lost}))


@pytest.mark.parametrize("back", [2, 2.2, 2.5, 2.9])
def test_a_clock_of_frames_that_may_be_fields_is_set_back(back: float) -> None:
    units = stream("none", 4, 24, sps_of_fields(1))
    items = received([*units[:60], *moved(units[60:], -round(back * FRAME))])
    assert reasons(items) == [JUMP]
