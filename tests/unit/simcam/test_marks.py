import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vigie.simcam.marks import (
    MARK_UUID,
    Codec,
    FrameMark,
    build_sei,
    cell_size,
    decode_blocks,
    draw_blocks,
    mark_of_annexb,
    mark_of_nal,
    mark_of_sample,
    mark_text,
    split_annexb,
    split_sample,
)

SIZES = [(320, 180), (640, 360), (1280, 720), (1920, 1080)]


def plane(width: int, height: int, counter: int) -> bytearray:
    luma = bytearray([128]) * (width * height)
    draw_blocks(luma, width, counter)
    return luma


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_blocks_give_back_the_counter(width: int, height: int) -> None:
    for counter in (0, 1, 249, 0xDEADBEEF, 0xFFFFFFFF):
        assert decode_blocks(bytes(plane(width, height, counter)), width, width) == counter


def test_blocks_survive_noise_and_loss_of_contrast() -> None:
    generator = random.Random(7)
    luma = plane(320, 180, 123_456)
    worn = bytes(max(0, min(255, 60 + value // 2 + generator.randint(-25, 25))) for value in luma)
    assert decode_blocks(worn, 320, 320) == 123_456


def test_a_padded_stride_is_respected() -> None:
    luma = plane(320, 180, 77)
    rows = [bytes(luma[y * 320 : (y + 1) * 320]) + b"\x00" * 64 for y in range(180)]
    assert decode_blocks(memoryview(b"".join(rows)), 320, 384) == 77


def test_a_wrong_cell_is_noticed() -> None:
    luma = plane(320, 180, 5)
    cell = cell_size(320)
    for y in range(cell, 2 * cell):  # leftmost data cell: dark becomes bright
        luma[y * 320 : y * 320 + cell] = b"\xe0" * cell
    assert decode_blocks(bytes(luma), 320, 320) is None


def test_a_picture_without_blocks_has_no_mark() -> None:
    assert decode_blocks(bytes([200]) * (320 * 180), 320, 320) is None


numbers = st.integers(0, 2**63 - 1)


@given(numbers, numbers, numbers, st.sampled_from(["h264", "h265"]))
def test_the_sei_gives_back_its_mark_and_needs_no_emulation_prevention(
    frame: int, decode: int, capture_us: int, codec: Codec
) -> None:
    mark = FrameMark(frame, decode, capture_us)
    nal = build_sei(codec, mark)
    assert mark_of_nal(nal) == mark
    assert all(bytes([0, 0, last]) not in nal for last in range(4))
    assert len(mark_text(frame, decode, capture_us)) == len(mark_text(0, 0, 0))


def test_an_altered_sei_is_no_mark() -> None:
    nal = bytearray(build_sei("h264", FrameMark(1, 2, 3)))
    nal[-5] ^= 1
    assert mark_of_nal(bytes(nal)) is None


def test_foreign_nals_are_no_marks() -> None:
    assert mark_of_nal(b"") is None
    assert mark_of_nal(b"\x06\x05\x10" + bytes(range(1, 17))) is None
    assert mark_of_nal(b"\x65" + b"\x11" * 100 + MARK_UUID.bytes) is None
    assert mark_of_nal(b"\x06\x05\x48" + MARK_UUID.bytes + b"z" * 56 + b"\x80") is None


@given(st.lists(st.binary(min_size=1, max_size=40).map(lambda b: b"\x41" + b.replace(b"\0", b"1"))))
def test_both_forms_of_an_access_unit_split_into_the_same_nals(nals: list[bytes]) -> None:
    mark = FrameMark(10, 11, 12)
    nals = [b"\x09\xf0", build_sei("h264", mark), *nals]
    sample = b"".join(len(nal).to_bytes(4, "big") + nal for nal in nals)
    annexb = b"".join(b"\x00\x00\x00\x01" + nal for nal in nals)
    assert split_sample(sample) == nals == split_annexb(annexb)
    assert mark_of_sample(sample) == mark == mark_of_annexb(annexb)


def test_a_length_beyond_the_sample_is_refused() -> None:
    with pytest.raises(ValueError, match="passes the end"):
        split_sample(b"\x00\x00\x00\x09abc")
