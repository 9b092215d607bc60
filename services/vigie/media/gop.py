"""What the depacketisers hand over: key-frame intervals, and why a stream broke."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from vigie.media.codec import VideoCodec
from vigie.media.parameters import ParameterSets


class GopEnd(StrEnum):
    """What closed a key-frame interval."""

    KEY_FRAME = "KEY_FRAME"
    PARAMETERS_CHANGED = "PARAMETERS_CHANGED"
    DISCONTINUITY = "DISCONTINUITY"
    FLUSH = "FLUSH"


class DiscontinuityReason(StrEnum):
    """Why frames were thrown away; stable, used as metric label."""

    PACKETS_LOST = "PACKETS_LOST"
    SEQUENCE_RESTARTED = "SEQUENCE_RESTARTED"
    SOURCE_CHANGED = "SOURCE_CHANGED"
    TIMESTAMP_JUMP = "TIMESTAMP_JUMP"
    PACKET_MALFORMED = "PACKET_MALFORMED"
    PAYLOAD_UNSUPPORTED = "PAYLOAD_UNSUPPORTED"
    ACCESS_UNIT_TOO_LARGE = "ACCESS_UNIT_TOO_LARGE"
    GOP_TOO_LARGE = "GOP_TOO_LARGE"
    PARAMETER_SETS_MISSING = "PARAMETER_SETS_MISSING"
    PARAMETER_SETS_MALFORMED = "PARAMETER_SETS_MALFORMED"


class Discontinuity(NamedTuple):
    """The stream broke here: the GOP before ends at its last whole frame.

    It ends earlier where B-frames are missing that would be shown before that one.
    ``packets`` is how many packets are missing where that is known, else 0. One is reported each
    time the stream breaks, not again until it resumed, unless for another reason.
    """

    reason: DiscontinuityReason
    packets: int
    detail: str


@dataclass(slots=True)
class Gop:
    """One key-frame interval as it was received; parallel lists, one entry a sample.

    A sample of ``frames`` holds its NAL units, each behind its length in four bytes. Samples are
    buffers of their own and are never joined on the way: one buffer for the whole interval would
    be moved in memory a dozen times while it grows beside those of other cameras
    (``docs/design/reception.md``). ``size_bytes`` is the sum of their sizes.
    """

    codec: VideoCodec
    parameters: ParameterSets
    starts_run: bool
    frames: list[bytes | bytearray] = field(default_factory=list)
    timestamps: list[int] = field(default_factory=list)
    arrivals_us: list[int] = field(default_factory=list)
    sync: bytearray = field(default_factory=bytearray)
    size_bytes: int = 0
    end: GopEnd | None = None
    end_timestamp: int | None = None

    def __len__(self) -> int:
        """The number of whole access units."""
        return len(self.frames)

    def sizes(self) -> list[int]:
        """Bytes of each sample."""
        return [len(frame) for frame in self.frames]

    def cut(self, keep: int) -> None:
        """Leave the first ``keep`` samples only."""
        self.size_bytes -= sum(map(len, self.frames[keep:]))
        del self.frames[keep:], self.timestamps[keep:], self.arrivals_us[keep:], self.sync[keep:]


@dataclass(slots=True)
class ReceptionStatistics:
    """Counters of one stream since it began; whoever publishes them reads them per tick."""

    packets: int = 0
    payload_bytes: int = 0
    packets_lost: int = 0
    packets_duplicate: int = 0
    packets_foreign: int = 0
    frames: int = 0
    frames_discarded: int = 0
    highest_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds that keep memory finite whatever a camera sends.

    ``forward_ticks`` (90 kHz) is the largest step from one access unit to the next, and
    ``backward_ticks`` the furthest behind the latest of its run, that still count as one timeline.
    How much less than that a stream may step back, by its B-frames, `vigie.media.reordering` knows;
    ``jitter_ticks`` are no step back in any. A step may exceed the time between the arrivals by
    ``leap_ticks``, and by as much again for each frame that may overtake another.
    ``min_gop_ticks`` joins key frames that come closer (all-intra cameras).
    """

    access_unit_bytes: int = 16 << 20
    nal_units_per_access_unit: int = 1024
    gop_bytes: int = 128 << 20
    gop_samples: int = 18_000
    forward_ticks: int = 10 * 90_000
    backward_ticks: int = 2 * 90_000
    jitter_ticks: int = 450  # 5 ms: nearer than the frames of any camera are to each other
    leap_ticks: int = 90_000
    min_gop_ticks: int = 0
