"""Proof by frame numbers: what was played is what the cameras filmed, frame by frame."""

from collections.abc import Iterable
from dataclasses import dataclass

from vigie.media.bmff.movie import MediaHeader
from vigie.media.bmff.reader import Fragment, read_fragments, read_header
from vigie.simcam import FrameMark, mark_of_sample


@dataclass(frozen=True, slots=True)
class SeenFrame:
    """One frame: its mark, and when the product says it was on display."""

    mark: FrameMark
    wall_us: int

    @property
    def error_us(self) -> int:
        """Time told minus time of capture."""
        return self.wall_us - self.mark.capture_us


@dataclass(frozen=True, slots=True)
class PlayedFragment:
    """A fragment as `Play` sent it."""

    initialization: bytes
    data: bytes
    start_us: int
    duration_us: int


def frames_of(fragments: Iterable[PlayedFragment]) -> list[SeenFrame]:
    """All frames in decode order.

    Raises:
        ValueError: a frame bears no mark.
    """
    seen: list[SeenFrame] = []
    for played in fragments:
        whole = played.initialization + played.data
        header = read_header(whole)
        for fragment in read_fragments(whole, header):
            seen += _frames(whole, header, fragment, played)
    return seen


def _frames(
    whole: bytes, header: MediaHeader, fragment: Fragment, played: PlayedFragment
) -> list[SeenFrame]:
    table, offset, ticks = fragment.table, fragment.data_offset, 0
    found: list[SeenFrame] = []
    total = max(1, table.duration)
    for size, duration, composition in zip(
        table.sizes, table.durations, table.composition_offsets, strict=True
    ):
        mark = mark_of_sample(whole[offset : offset + size])
        if mark is None:
            raise ValueError("a frame bears no mark")
        shown = ticks + composition - header.presentation_delay
        found.append(SeenFrame(mark, played.start_us + shown * played.duration_us // total))
        ticks += duration
        offset += size
    return found


def breaks(frames: Iterable[SeenFrame]) -> list[str]:
    """Where numbers do not follow each other: missing, doubled or out of order."""
    wrong: list[str] = []
    before: int | None = None
    for frame in frames:
        number = frame.mark.decode_number
        if before is not None and number != before + 1:
            wrong.append(f"{before} → {number}")
        before = number
    return wrong
