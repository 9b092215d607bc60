"""A simulated camera: when it captures which frame, what its clock says, what it has sent.

Everything about frames is a function of their number, so that a test can ask for any frame ever
sent, hours later, and get its exact bytes: nothing is recorded but ranges of numbers.
"""

import hashlib
import random
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from vigie.simcam.auth import Authenticator
from vigie.simcam.clock import Clock
from vigie.simcam.config import CameraConfig
from vigie.simcam.faults import Fault, FaultRequest
from vigie.simcam.marks import Codec, FrameMark
from vigie.simcam.nal import is_delimiter, is_parameter_set
from vigie.simcam.packetize import FrameTemplate, PreparedFootage

_MICROSECONDS: Final = 1_000_000
_DAMAGED_KEPT: Final = 10_000


@dataclass(frozen=True, slots=True)
class ExpectedFrame:
    """One frame exactly as sent.

    Attributes:
        mark: its numbers and capture time.
        codec: "h264" or "h265".
        is_key: a decoder can start here.
        nals: NAL units in sending order: delimiter, parameter sets, mark, the rest.
    """

    mark: FrameMark
    codec: Codec
    is_key: bool
    nals: tuple[bytes, ...]

    @property
    def media_nals(self) -> tuple[bytes, ...]:
        """Without parameter sets and delimiters, which a recorder may keep elsewhere."""
        return tuple(
            nal
            for nal in self.nals
            if not is_parameter_set(self.codec, nal) and not is_delimiter(self.codec, nal)
        )

    @property
    def sample(self) -> bytes:
        """All NAL units, each behind its length in 4 bytes."""
        return b"".join(len(nal).to_bytes(4, "big") + nal for nal in self.nals)

    @property
    def sha256(self) -> str:
        """Hash of `sample`."""
        return hashlib.sha256(self.sample).hexdigest()

    @property
    def media_sha256(self) -> str:
        """Hash of `media_nals`, each behind its length in 4 bytes."""
        digest = hashlib.sha256()
        for nal in self.media_nals:
            digest.update(len(nal).to_bytes(4, "big") + nal)
        return digest.hexdigest()


@dataclass(slots=True)
class SentSpan:
    """Frames sent without a hole on one session, by decode number, both ends included."""

    session: str
    first: int
    last: int


@dataclass(slots=True)
class SentLog:
    """What left the camera: was handed to the network, which may have lost the very last of it.

    Attributes:
        spans: per session, in order of time.
        damaged: (decode number, fault) of frames that were sent incomplete or altered.
    """

    spans: list[SentSpan] = field(default_factory=list)
    damaged: deque[tuple[int, Fault]] = field(default_factory=lambda: deque(maxlen=_DAMAGED_KEPT))

    def open(self, session: str, first: int) -> SentSpan:
        """Begin a span whose first frame will be ``first``."""
        span = SentSpan(session, first, first - 1)
        self.spans.append(span)
        return span


class CameraClock:
    """How far the camera's own clock is from the true one; it may drift and jump."""

    def __init__(self, offset_us: int, drift_ppm: float, since_us: int) -> None:
        self._offset_us = offset_us
        self._drift_ppm = drift_ppm
        self._since_us = since_us
        self._report_offset_us = 0

    def media_shift_us(self, true_us: int) -> int:
        """What is added to a capture time for RTP time stamps."""
        return self._offset_us + round((true_us - self._since_us) * self._drift_ppm / _MICROSECONDS)

    def report_shift_us(self, true_us: int) -> int:
        """What is added to the present for sender reports."""
        return self.media_shift_us(true_us) + self._report_offset_us

    def jump(self, microseconds: int, *, reports_only: bool) -> None:
        """Step the clock."""
        if reports_only:
            self._report_offset_us += microseconds
        else:
            self._offset_us += microseconds

    def set_drift(self, ppm: float, now_us: int) -> None:
        """Change the rate from now on, without a step."""
        self._offset_us = self.media_shift_us(now_us)
        self._since_us = now_us
        self._drift_ppm = ppm


@dataclass(frozen=True, slots=True)
class _Epoch:
    """From frame ``first`` on (also a key frame of the old footage) this footage is shown."""

    first: int
    prepared: PreparedFootage


class Camera:
    """State of one simulated camera.

    Args:
        config: what it is.
        prepared: its footage.
        wall, monotonic: clocks; read together once, then only the monotonic one is followed.
    """

    def __init__(
        self, config: CameraConfig, prepared: PreparedFootage, wall: Clock, monotonic: Clock
    ) -> None:
        self.config = config
        self.id = config.id
        self._monotonic = monotonic
        rate = prepared.footage.frames_per_second
        self._rate_numerator, self._rate_denominator = rate.numerator, rate.denominator
        period_us = _MICROSECONDS * rate.denominator // rate.numerator
        # Regular capture from a phase of the camera's own, so that a load of many is spread out.
        phase_us = zlib.crc32(config.id.encode()) % max(1, period_us)
        self._origin_monotonic_us = monotonic.now_us() + phase_us
        self._origin_wall_us = wall.now_us() + phase_us
        self._epochs = [_Epoch(0, prepared)]
        offset_us = round(config.clock_offset_seconds * _MICROSECONDS)
        self.clock = CameraClock(offset_us, config.clock_drift_ppm, self._origin_wall_us)
        self.authenticator = (
            Authenticator(config.credentials, monotonic) if config.credentials else None
        )
        self.active: dict[Fault, FaultRequest] = {}
        self.sent = SentLog()
        self.random = random.Random(config.id)  # noqa: S311 - reproducible damage, no secret
        self.audio_setups = 0
        self.receiver_reports = 0
        self.overruns = 0
        self.frames_sent = 0

    @property
    def prepared(self) -> PreparedFootage:
        """The footage shown last (or next, when a change is under way)."""
        return self._epochs[-1].prepared

    def now_us(self) -> int:
        """True wall time, on the scale of capture times."""
        return self._monotonic.now_us() - self._origin_monotonic_us + self._origin_wall_us

    def _elapsed_us(self, number: int) -> int:
        return number * _MICROSECONDS * self._rate_denominator // self._rate_numerator

    def capture_us(self, frame_number: int) -> int:
        """True wall time at which a frame (by display number) is captured."""
        return self._origin_wall_us + self._elapsed_us(frame_number)

    def due_us(self, decode_number: int) -> int:
        """Monotonic time at which a frame (by decode number) is sent: when it can be known."""
        depth = self._epoch(decode_number).prepared.footage.reorder_depth
        return self._origin_monotonic_us + self._elapsed_us(decode_number + depth)

    def rtp_ticks(self, frame_number: int) -> int:
        """RTP time of a frame on the camera's clock, 90 kHz, from any origin, not wrapped."""
        ticks = frame_number * 90_000 * self._rate_denominator // self._rate_numerator
        return ticks + self.clock.media_shift_us(self.capture_us(frame_number)) * 9 // 100

    def report_times(self) -> tuple[int, int]:
        """(camera's wall clock in microseconds, RTP ticks) of this instant."""
        now_us = self.now_us()
        ticks_us = now_us - self._origin_wall_us + self.clock.media_shift_us(now_us)
        return now_us + self.clock.report_shift_us(now_us), ticks_us * 9 // 100

    def _epoch(self, decode_number: int) -> _Epoch:
        for epoch in reversed(self._epochs):
            if epoch.first <= decode_number:
                return epoch
        return self._epochs[0]

    def frame(self, decode_number: int) -> tuple[PreparedFootage, int, FrameMark]:
        """(footage, index in its loop, mark) of a frame by its decode number."""
        epoch = self._epoch(decode_number)
        count = epoch.prepared.frame_count
        index = (decode_number - epoch.first) % count
        loop_start = decode_number - index
        frame_number = loop_start + epoch.prepared.footage.samples[index].display_index
        mark = FrameMark(frame_number, decode_number, self.capture_us(frame_number))
        return epoch.prepared, index, mark

    def template(self, decode_number: int) -> tuple[FrameTemplate, FrameMark]:
        """(packets, mark) of a frame."""
        prepared, index, mark = self.frame(decode_number)
        return prepared.templates[index], mark

    def expected(self, decode_number: int) -> ExpectedFrame:
        """The frame exactly as it is sent. Numbers before a change of footage stay right."""
        prepared, index, mark = self.frame(decode_number)
        nals = tuple(prepared.expected_nals(index, mark))
        footage = prepared.footage
        return ExpectedFrame(mark, footage.codec, footage.samples[index].is_key, nals)

    def next_due(self) -> int:
        """Decode number of the first frame that is still to be sent."""
        depth = self.prepared.footage.reorder_depth
        elapsed_us = self._monotonic.now_us() - self._origin_monotonic_us
        captured = elapsed_us * self._rate_numerator // (_MICROSECONDS * self._rate_denominator)
        return max(0, captured + 1 - depth)

    def next_key(self, decode_number: int) -> int:
        """Decode number of the first key frame at or after ``decode_number``."""
        while True:
            prepared, index, _ = self.frame(decode_number)
            sample = prepared.footage.samples[index]
            # Only where nothing captured earlier is sent later can a viewer or a change start.
            if sample.is_key and sample.display_index == index:
                return decode_number
            decode_number += 1

    def change_footage(self, prepared: PreparedFootage, not_before: int) -> int:
        """Show other footage from the next key frame on.

        Args:
            prepared: footage of the same rate.
            not_before: first decode number no session has sent yet.

        Returns:
            The decode number of the first frame of the new footage.

        Raises:
            ValueError: the rate differs.
        """
        if prepared.footage.frames_per_second != self.prepared.footage.frames_per_second:
            raise ValueError("footage of another rate would change every capture time")
        first = self.next_key(max(not_before, self._epochs[-1].first))
        if first == self._epochs[-1].first:
            first = self.next_key(first + 1)
        self._epochs.append(_Epoch(first, prepared))
        return first

    def sent_frames(self, session: str | None = None) -> Iterator[int]:
        """Decode numbers sent (on one session), in the order of sending."""
        for span in self.sent.spans:
            if session in (None, span.session):
                yield from range(span.first, span.last + 1)
