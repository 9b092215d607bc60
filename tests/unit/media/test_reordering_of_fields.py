"""The order of presentation of fields: pictures of half a frame, with timestamps of their own."""

from collections.abc import Iterable

import pytest

from unit.media.encoded import AccessUnit, Packetiser
from unit.media.received import finish, push_all
from unit.media.reordered import (
    BASE,
    FRAME,
    JUMP,
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
from vigie.media.gop import DiscontinuityReason
from vigie.media.h264 import parse_sps


def sps_of_fields(reorder: int | None) -> bytes:
    """1920x1088, of Main profile, fields."""
    bits = Bits().u(8, 77).u(8, 0).u(8, 40).ue(0, 0, 0, 0, 4).u(1, 0).ue(119, 33)
    bits.u(5, 0b00101)  # fields, none within a frame, direct inference; no cropping; a VUI
    bits.u(4, 0).u(1, 0).u(3, 0).u(1, reorder is not None)
    if reorder is not None:
        bits.u(1, 1).ue(0, 0, 10, 10, reorder, 4)
    return bits.nal(b"\x67")


def fields_of(units: Iterable[AccessUnit], declared: bytes) -> list[AccessUnit]:
    """Each frame as two fields with timestamps of their own (RFC 6184, section 5.1)."""
    found: list[AccessUnit] = []
    for unit in units:
        place = (unit.timestamp - BASE) // FRAME
        first, second = 2 * place, 2 * place + 1
        key = len(unit.nals) > 1
        found += [
            frame(first, first * FRAME // 2, key=key, declared=declared),
            frame(second, second * FRAME // 2),
        ]
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


@pytest.mark.parametrize("lost", range(20, 32))
@pytest.mark.parametrize("shape", ["none", "one", "two"])
def test_no_field_is_missing_inside_a_run(shape: str, lost: int) -> None:
    declared = sps_of_fields(1)
    units = fields_of(stream(shape, 4, 8, declared), declared)
    packetiser = Packetiser(VideoCodec.H264)
    packets = [packetiser.packets(unit) for unit in units]
    to = reader()
    flat = [p for at, of_field in enumerate(packets) if at != lost for p in of_field]
    items = [*push_all(to, flat), *finish(to)]
    assert set(reasons(items)) <= {DiscontinuityReason.PACKETS_LOST}
    assert_in_order_without_a_hole(items)
