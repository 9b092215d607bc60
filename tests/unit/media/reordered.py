"""Streams of numbered frames, with and without B-frames, and what is received of them."""

from collections.abc import Iterable, Sequence

from unit.media.encoded import AccessUnit
from unit.media.received import finish, packets_of, push_all
from vigie.media.codec import VideoCodec
from vigie.media.depacketize import Depacketizer, make_depacketizer
from vigie.media.gop import Discontinuity, DiscontinuityReason, Gop

PPS = bytes.fromhex("68ce3c80")
FRAME = 3600
BASE = 1_000_000
# Decode order of one sub-group of pictures, as steps of presentation from the last of the one
# before it.
SHAPES = {
    "none": (1,),
    "one": (2, 1),
    "two": (3, 1, 2),
    "pyramid": (4, 2, 1, 3),
    "eight": (8, 4, 2, 1, 3, 6, 5, 7),
}
NEEDED = {"none": 0, "one": 1, "two": 1, "pyramid": 2, "eight": 3}


class Bits:
    """Writes the fields of a parameter set."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, size: int, value: int) -> "Bits":
        self.text += f"{value:0{size}b}"
        return self

    def ue(self, *values: int) -> "Bits":
        for value in values:
            code = f"{value + 1:b}"
            self.text += "0" * (len(code) - 1) + code
        return self

    def nal(self, head: bytes) -> bytes:
        text = self.text + "1"
        text += "0" * (-len(text) % 8)
        body = int(text, 2).to_bytes(len(text) // 8, "big")
        for size in range(len(body), 2, -1):  # emulation prevention, from behind
            at = size - 3
            if body[at : at + 2] == b"\0\0" and body[at + 2] <= 3:
                body = body[: at + 2] + b"\3" + body[at + 2 :]
        return head + body


def sps(reorder: int | None, *, timing: bool = False, level: int = 40) -> bytes:
    """1920x1088, of Main profile."""
    bits = Bits().u(8, 77).u(8, 0).u(8, level).ue(0, 0, 0, 0, 4).u(1, 0).ue(119, 67)
    bits.u(4, 0b1101)  # frames only, direct inference; no cropping; a VUI
    bits.u(4, 0)  # no aspect, overscan, signal, chroma location
    bits.u(1, timing)
    if timing:
        bits.u(32, 1).u(32, 50).u(1, 1)
    bits.u(3, 0).u(1, reorder is not None)
    if reorder is not None:
        bits.u(1, 1).ue(0, 0, 10, 10, reorder, 4)
    return bits.nal(b"\x67")


def frame(number: int, ticks: int, *, key: bool = False, declared: bytes = b"") -> AccessUnit:
    head = b"\x65" if key else b"\x41"
    picture = head + b"\x88" + number.to_bytes(4, "big") + b"\xaa" * 8
    return AccessUnit(BASE + ticks, (declared, PPS, picture) if key else (picture,))


def number_of(sample: bytes | bytearray) -> int:
    return int.from_bytes(sample[-12:-8], "big")


def stream(shape: str, groups: int, subgroups: int, declared: bytes) -> list[AccessUnit]:
    """Closed groups: a key frame, then so many sub-groups; frames bear the place they are shown."""
    units, place = [], 0
    for _ in range(groups):
        units.append(frame(place, place * FRAME, key=True, declared=declared))
        for _ in range(subgroups):
            steps = SHAPES[shape]
            units += [frame(place + step, (place + step) * FRAME) for step in steps]
            place += len(steps)
        place += 1
    return units


def moved(units: Iterable[AccessUnit], ticks: int) -> list[AccessUnit]:
    return [AccessUnit(unit.timestamp + ticks, unit.nals) for unit in units]


def reader() -> Depacketizer:
    return make_depacketizer(VideoCodec.H264, 96)


def received(units: Sequence[AccessUnit]) -> list[Gop | Discontinuity]:
    to = reader()
    return [*push_all(to, packets_of(VideoCodec.H264, units)), *finish(to)]


def runs(items: Iterable[Gop | Discontinuity]) -> list[list[int]]:
    """The numbers of the frames of each run, in the order in which they are shown."""
    found: list[list[tuple[int, int]]] = []
    goes_on = False
    for item in items:
        if isinstance(item, Discontinuity):
            goes_on = False
            continue
        if item.starts_run or not goes_on:
            found.append([])
        goes_on = True
        found[-1] += zip(item.timestamps, map(number_of, item.frames), strict=True)
    return [[number for _, number in sorted(run)] for run in found]


def reasons(items: Iterable[Gop | Discontinuity]) -> list[DiscontinuityReason]:
    return [item.reason for item in items if isinstance(item, Discontinuity)]


def assert_in_order_without_a_hole(items: Iterable[Gop | Discontinuity]) -> None:
    for run in runs(items):
        assert run == list(range(run[0], run[0] + len(run)))


JUMP = DiscontinuityReason.TIMESTAMP_JUMP
