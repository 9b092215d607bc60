"""Proof by frame numbers, with readers that are not the product's: libav, ffmpeg, a box walk.

Every simulated frame carries its number and its true time; the simulator tells, hours later, the
exact bytes of any frame it ever sent.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from typing import Any, Final

import av

from e2e.callers import Fragment
from vigie.simcam import FrameMark, decode_blocks, mark_of_nal
from vigie.simcam.client import ControlClient
from vigie.simcam.marks import Codec, split_sample
from vigie.simcam.nal import is_delimiter, is_parameter_set

TOLERANCE_US: Final = 40_000
_FRAMES_AT_ONCE: Final = 5000


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a file.

    Attributes:
        mark: who it is.
        media_sha256: of its NAL units without parameter sets and delimiters, as simcam tells it.
        shown_us: when it is shown, counted from the beginning of the file.
        is_key: the file says that a decoder can start here.
    """

    mark: FrameMark
    media_sha256: str
    shown_us: int
    is_key: bool


def frames_of_file(data: bytes) -> list[Frame]:
    """Frames of an MP4 file in decoding order, by libav; every one bears its mark.

    libav must not have anything to complain about (its log is an error here).
    """
    found: list[Frame] = []
    with av.logging.Capture() as log, av.open(BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        codec: Codec = "h265" if stream.codec_context.name == "hevc" else "h264"
        base = Fraction(stream.time_base or 1)
        for packet in container.demux(stream):
            if not packet.size:
                continue
            nals = split_sample(bytes(packet))
            mark = next((m for nal in nals if (m := mark_of_nal(nal)) is not None), None)
            assert mark is not None, "a frame bears no mark"
            assert packet.pts is not None
            shown_us = round(packet.pts * base * 1_000_000)
            found.append(Frame(mark, _media_sha256(codec, nals), shown_us, packet.is_keyframe))
    complaints = [text for level, _, text in log if level <= av.logging.WARNING]
    assert not complaints
    return found


def _media_sha256(codec: Codec, nals: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for nal in nals:
        if not is_parameter_set(codec, nal) and not is_delimiter(codec, nal):
            digest.update(len(nal).to_bytes(4, "big") + nal)
    return digest.hexdigest()


def decoded_counters(data: bytes) -> list[int | None]:
    """What a viewer sees: the counter in the blocks of each picture, in order of display."""
    counters: list[int | None] = []
    with av.logging.Capture() as log, av.open(BytesIO(data), "r") as container:
        for picture in container.decode(video=0):
            plane = picture.planes[0]
            counters.append(decode_blocks(bytes(plane), picture.width, plane.line_size))
    assert not [text for level, _, text in log if level <= av.logging.WARNING]
    return counters


def boxes(data: bytes) -> list[tuple[str, int, int]]:
    """Top-level boxes of a file: (type, begin, end) (ISO/IEC 14496-12, 4.2)."""
    found, position = [], 0
    while position < len(data):
        size = int.from_bytes(data[position : position + 4], "big")
        kind = data[position + 4 : position + 8].decode("ascii")
        if size == 1:
            size = int.from_bytes(data[position + 8 : position + 16], "big")
        assert size >= 8, f"box {kind} of {size} bytes"
        assert position + size <= len(data)
        found.append((kind, position, position + size))
        position += size
    return found


def concatenate(objects: Sequence[bytes]) -> bytes:
    """Objects of one span as one file: one header, then the fragments of all (ONVIF)."""
    joined = bytearray()
    for number, data in enumerate(objects):
        kinds = [kind for kind, _, _ in boxes(data)]
        assert kinds[:2] == ["ftyp", "moov"]
        assert kinds[-1] == "mfra"
        assert kinds.count("moof") == kinds.count("mdat") >= 1
        for kind, begin, end in boxes(data):
            header = kind in ("ftyp", "moov")
            if kind != "mfra" and (number == 0 or not header):
                joined += data[begin:end]
    return bytes(joined)


@dataclass(frozen=True, slots=True)
class Timed:
    """A frame and the instant the product says it was on display."""

    frame: Frame
    wall_us: int

    @property
    def error_us(self) -> int:
        """Told minus true."""
        return self.wall_us - self.frame.mark.capture_us


def timed(frames: Iterable[Frame], start_us: int, first_shown_us: int = 0) -> list[Timed]:
    """Frames of a file whose time ``first_shown_us`` is the instant ``start_us``."""
    return [Timed(frame, start_us + frame.shown_us - first_shown_us) for frame in frames]


def timed_of_play(fragments: Iterable[Fragment]) -> list[Timed]:
    """Frames as played, each at the time the messages give it."""
    found: list[Timed] = []
    for fragment in fragments:
        frames = frames_of_file(fragment.initialization + fragment.data)
        first_us = min(frame.shown_us for frame in frames)
        found += timed(frames, fragment.start_us, first_us)
    return found


async def expected_frames(
    control: ControlClient, camera: str, first: int, last: int
) -> dict[int, Any]:
    """Decode number -> what the simulator says of the frame."""
    found: dict[int, Any] = {}
    for begin in range(first, last + 1, _FRAMES_AT_ONCE):
        end = min(last, begin + _FRAMES_AT_ONCE - 1)
        for frame in await control.frames(camera, begin, end):
            found[frame["decode_number"]] = frame
    return found


async def assert_all_there(
    control: ControlClient, camera: str, found: Sequence[Timed], *, frames_at_least: int
) -> None:
    """All frames, in order, none doubled, bytes as sent, each within 40 ms of its true time."""
    numbers = [each.frame.mark.decode_number for each in found]
    assert len(numbers) >= frames_at_least
    assert not breaks(numbers)
    await assert_as_sent(control, camera, found)


async def assert_as_sent(control: ControlClient, camera: str, found: Sequence[Timed]) -> None:
    """Bytes as sent, each within 40 ms of its true time."""
    numbers = [each.frame.mark.decode_number for each in found]
    expected = await expected_frames(control, camera, min(numbers), max(numbers))
    for each in found:
        sent = expected[each.frame.mark.decode_number]
        assert each.frame.media_sha256 == sent["media_sha256"], sent
        assert each.frame.mark.capture_us == sent["capture_us"]
        assert each.frame.is_key == sent["is_key"]
    worst = max(found, key=lambda each: abs(each.error_us))
    assert abs(worst.error_us) <= TOLERANCE_US, (worst.error_us, worst)


def missing(found: Sequence[Timed]) -> list[int]:
    """Numbers, in order of display, that are not there between the first and the last."""
    numbers = {each.frame.mark.frame_number for each in found}
    return [number for number in range(min(numbers), max(numbers)) if number not in numbers]


def breaks(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """Where numbers do not follow each other."""
    return [(before, after) for before, after in pairwise(numbers) if after != before + 1]
