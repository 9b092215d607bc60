"""What is decoded for a still."""

from dataclasses import dataclass

from vigie.media.bmff.plan import WallMapping


class UndecodableError(Exception):
    """The decoder gave no frame for stored bytes."""


@dataclass(frozen=True, slots=True)
class Source:
    """Bytes to decode: an initialisation segment with one or two fragments."""

    content: bytes
    mapping: WallMapping
    timescale: int
    first_shown_ticks: int
