"""Access units into key-frame intervals; the depacketiser decides where access units end."""

import struct
from typing import Final

from vigie.media import h264
from vigie.media.access_unit import AccessUnitRules
from vigie.media.errors import MediaError, MediaReason
from vigie.media.gop import (
    Discontinuity,
    DiscontinuityReason,
    Gop,
    GopEnd,
    Limits,
    ReceptionStatistics,
)
from vigie.media.parameters import ParameterSetCollector, ParameterSets
from vigie.media.reordering import Reordering, StepBack
from vigie.media.rtp import Unwrapper

_LENGTH: Final = struct.Struct("!I")
_FIRST_SLICE: Final = 0x80  # first_mb_in_slice = 0, or first_slice_segment_in_pic_flag


class BadPayload(Exception):  # noqa: N818 - control flow inside the package, never seen outside
    """A packet whose payload cannot be taken."""

    def __init__(self, reason: DiscontinuityReason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Final = reason
        self.detail: Final = detail


class GopBuilder:
    """Collects the NAL units of one stream.

    ``data`` is where NAL units are appended: the access unit at hand. The GOP before the open one
    may be held back (``_held``) until it is certain when its last sample ends: leading pictures of
    an open GOP come after their key frame and are shown before it.
    """

    __slots__ = (
        "_collector",
        "_discarded",
        "_held",
        "_highest",
        "_items",
        "_key_timestamp",
        "_limits",
        "_mask",
        "_nal_count",
        "_nal_start",
        "_nals_before",
        "_open_start",
        "_parameters",
        "_recovery",
        "_reopens",
        "_reordering",
        "_reported",
        "_rules",
        "_statistics",
        "_timestamp",
        "_unwrapper",
        "_whole",
        "data",
        "gop",
    )

    def __init__(
        self,
        rules: AccessUnitRules,
        parameters: ParameterSets | None,
        limits: Limits,
        statistics: ReceptionStatistics,
    ) -> None:
        self._rules = rules
        self._limits = limits
        self._statistics = statistics
        self._collector = ParameterSetCollector(rules.codec, parameters)
        self._parameters: ParameterSets | None = None
        self._unwrapper = Unwrapper(32)
        self._items: list[Gop | Discontinuity] = []
        self._reported: set[DiscontinuityReason] = set()
        self._held: Gop | None = None
        self._key_timestamp = 0
        self._highest = 0  # the latest presentation time of the run
        self._reordering = Reordering(limits.jitter_ticks)
        self._open_start = False
        self._reopens = False  # a frame that had seemed whole has gone on before
        self._discarded = False  # the access unit before was thrown away
        self._timestamp = 0
        self.data = bytearray()
        self.gop: Gop | None = None
        self._mask = 0  # types of its NAL units
        self._nal_count = 0
        self._nals_before = 0  # NAL units of the access unit before: it may be opened again
        self._nal_start = 0
        self._recovery = -1  # recovery_frame_cnt of its recovery point; negative without one
        self._whole = False  # its first slice is the first of the picture

    # -- NAL units ------------------------------------------------------------------------------

    def add_nal(self, view: memoryview, start: int, end: int) -> None:
        """Append one whole NAL unit."""
        data = self.data
        position = len(data) + 4
        data += _LENGTH.pack(end - start)
        data += view[start:end]
        self._finish_nal(position)

    def open_nal(self, header: bytes) -> None:
        """Begin a NAL unit whose payload comes in pieces, appended to ``data``."""
        self._nal_start = len(self.data) + 4
        self.data += b"\0\0\0\0"
        self.data += header

    def close_nal(self) -> None:
        """The open NAL unit is whole: fill in its length."""
        position = self._nal_start
        _LENGTH.pack_into(self.data, position - 4, len(self.data) - position)
        self._finish_nal(position)

    def _finish_nal(self, position: int) -> None:
        rules = self._rules
        data = self.data
        kind = rules.nal_types[data[position]]
        self._nal_count += 1
        if self._nal_count > self._limits.nal_units_per_access_unit:
            raise BadPayload(
                DiscontinuityReason.ACCESS_UNIT_TOO_LARGE, f"{self._nal_count} NAL units"
            )
        bit = 1 << kind
        if bit & rules.picture_mask and not self._mask & rules.picture_mask:
            slice_start = position + rules.nal_header_size
            self._whole = slice_start < len(data) and bool(data[slice_start] & _FIRST_SLICE)
        self._mask |= bit
        if bit & rules.parameter_mask:
            self._collector.add(bytes(data[position:]))
        elif kind == rules.recovery_sei:
            count = h264.recovery_frame_count(bytes(data[position : position + 64]))
            self._recovery = self._recovery if count is None else count

    # -- access units ---------------------------------------------------------------------------

    @property
    def has_picture(self) -> bool:
        """Whether a slice of the access unit at hand has come."""
        return bool(self._mask & self._rules.picture_mask)

    @property
    def fields(self) -> bool:
        """Whether one frame may come as two access units with one timestamp."""
        parameters = self._parameters
        return parameters is not None and parameters.configuration.info.fields

    def set_timestamp(self, raw: int) -> None:
        """The RTP timestamp of the access unit at hand."""
        self._timestamp = self._unwrapper.unwrap(raw)

    def finish_access_unit(self, arrival_us: int) -> None:
        """The access unit at hand is whole: make it a sample, open a GOP, or throw it away."""
        gop = self.gop
        if gop is not None and gop.timestamps:
            step = self._timestamp - gop.timestamps[-1]
            behind = self._highest - self._timestamp
            if (behind > 0 and self._is_set_back(gop, behind)) or (
                step > self._limits.leap_ticks and self._leaps(gop, step, arrival_us)
            ):
                self._break_off_at_jump(step)
                gop = self.gop
        sync = bool(self._mask & self._rules.sync_mask) or self._recovery == 0
        if sync and (gop is None or gop.frames) and not self._open_gop():
            return
        gop = self.gop
        if gop is None or (gop.starts_run and self._is_undecodable(gop)):
            self._discard_access_unit()
            return
        gop.frames.append(self.data)
        gop.timestamps.append(self._timestamp)
        gop.arrivals_us.append(arrival_us)
        gop.sync.append(sync)
        gop.size_bytes += len(self.data)
        self.data = bytearray()
        if self._timestamp > self._highest:  # noqa: PLR1730 - a call for each frame would cost
            self._highest = self._timestamp
        self._statistics.frames += 1
        self._discarded = False
        self._nals_before = self._nal_count
        if self._held is not None and self._timestamp > self._key_timestamp:
            self._release_held(min(gop.timestamps))
        self._clear_access_unit()
        if len(gop.frames) > self._limits.gop_samples or gop.size_bytes > self._limits.gop_bytes:
            detail = f"{len(gop)} frames, {gop.size_bytes} bytes without a key frame"
            self.break_off(DiscontinuityReason.GOP_TOO_LARGE, 0, detail)

    def reopen_access_unit(self) -> None:
        """More of an access unit that had seemed whole (cameras that mark every slice).

        Of one that was thrown away the rest is a unit of its own, and goes the same way: the last
        frame that was kept is another.
        """
        gop = self.gop
        if gop is None or not gop.frames or self._mask or self._discarded:
            return
        data = gop.frames.pop()
        # Taken back, not copied: it may come again with each packet, and frames have megabytes.
        self.data = data if isinstance(data, bytearray) else bytearray(data)
        gop.timestamps.pop()
        gop.arrivals_us.pop()
        gop.size_bytes -= len(self.data)
        self._mask = self._rules.sync_mask if gop.sync.pop() else 0
        self._mask |= self._rules.picture_mask & -self._rules.picture_mask
        self._nal_count = self._nals_before + 1  # so that nobody opens one for ever
        self._whole = True
        self._reopens = True
        self._statistics.frames -= 1

    def doubt_access_unit(self, *, goes_on: bool) -> None:
        """Something is missing right after a frame that had seemed whole: was it?

        Not when more of it has come (``goes_on``), nor when this camera marks every slice: then
        nobody knows how many were to follow. Such a frame is thrown away.
        """
        if goes_on or self._reopens:
            gop = self.gop
            if gop is not None and gop.frames and not self._mask and not self._discarded:
                self.reopen_access_unit()
                self._discard_access_unit()

    def _is_set_back(self, gop: Gop, behind: int) -> bool:
        """Whether the camera's clock was, and not only the frame presented before the latest.

        Steps back add up: held against the latest frame, or a camera whose clock runs backwards
        would leave composition offsets that no file can hold.
        """
        if behind > self._limits.backward_ticks:
            return True
        if gop.starts_run and self._is_undecodable(gop):
            return False  # it is thrown away
        key = bool(self._mask & self._rules.sync_mask) and not self.fields
        seen = self._reordering.judge(gop, self._timestamp, behind, key=key)
        if seen is StepBack.JITTER:
            self._timestamp = self._highest + 1
        return seen is StepBack.CLOCK_SET_BACK

    def _leaps(self, gop: Gop, step: int, arrival_us: int) -> bool:
        """Whether so long a step is none of the camera's pace.

        It must have passed here as well, for frames are not taken after they came; those that
        others overtake in decode order step further.
        """
        limits = self._limits
        passed = (arrival_us - gop.arrivals_us[-1]) * 9 // 100
        overtaking = gop.parameters.configuration.info.reorder_frames or 0
        return step > min(limits.forward_ticks, passed + limits.leap_ticks * (1 + overtaking))

    def _break_off_at_jump(self, step: int) -> None:
        """The frame at hand is the first after the jump: what is before it ends."""
        access_unit = self.data
        mask, whole, recovery = self._mask, self._whole, self._recovery
        count = self._nal_count  # still bounds the frame, of which more may come
        detail = f"{step} ticks of 1/90000 s from one frame to the next"
        # Behind an IDR or IRAP picture comes nothing that is presented before it; where it goes on
        # from the frame before, it is the latest whose time was wrong, and all frames have come.
        is_complete = bool(mask & self._rules.sync_mask) and step > 0
        self.break_off(DiscontinuityReason.TIMESTAMP_JUMP, 0, detail, is_complete=is_complete)
        self.data = access_unit
        self._mask, self._whole, self._recovery = mask, whole, recovery
        self._nal_count = count

    def _is_undecodable(self, gop: Gop) -> bool:
        """Whether the frame needs one from before the run; asked of its first group only."""
        if self._mask & self._rules.sync_mask:
            return False
        if self._mask & self._rules.undecodable_mask:
            return True
        if self._open_start and len(gop):
            if self._timestamp < self._key_timestamp:
                return True
            self._open_start = False
        return False

    def _discard_access_unit(self) -> None:
        self.data = bytearray()
        self._statistics.frames_discarded += 1
        self._discarded = True
        self._clear_access_unit()

    def _clear_access_unit(self) -> None:
        self._mask = 0
        self._nal_count = 0
        self._nal_start = 0
        self._recovery = -1
        self._whole = False

    # -- key-frame intervals --------------------------------------------------------------------

    def _open_gop(self) -> bool:
        """A key frame: close the open GOP before it. False when the key frame cannot be used."""
        before = self.gop
        parameters = self._current_parameters()
        if parameters is None or (before is None and not self._whole):
            self._discard_access_unit()
            return False
        changed = before is not None and parameters != before.parameters
        apart = self._limits.min_gop_ticks
        if before is not None and not changed and self._timestamp < before.timestamps[0] + apart:
            return True
        gop = Gop(self._rules.codec, parameters, before is None or changed)
        if before is None:
            self._reported.clear()
            self._highest = self._timestamp
        self._reordering.opened(None if gop.starts_run else before)
        may_lead = self._may_have_leading(parameters)
        if before is not None:
            before.end = GopEnd.PARAMETERS_CHANGED if changed else GopEnd.KEY_FRAME
            self._hold(before)
            if not may_lead:
                self._release_held(self._timestamp)
        self.gop = gop
        self._key_timestamp = self._timestamp
        self._open_start = gop.starts_run and not self._mask & self._rules.sync_mask
        return True

    def _current_parameters(self) -> ParameterSets | None:
        """The sets in force at this key frame; None, after breaking off, when unusable."""
        latest = self._collector.used_by(self.data)
        if latest != self._parameters:
            self._parameters = None
            try:
                _ = latest.configuration
            except MediaError as error:
                missing = error.reason is MediaReason.PARAMETER_SETS_MISSING
                reason = (
                    DiscontinuityReason.PARAMETER_SETS_MISSING
                    if missing
                    else DiscontinuityReason.PARAMETER_SETS_MALFORMED
                )
                self.break_off(reason, 0, error.message)
                return None
            self._parameters = latest
        return self._parameters

    def _may_have_leading(self, parameters: ParameterSets) -> bool:
        if self._mask & self._rules.leading_free_mask:
            return False
        return parameters.configuration.info.reorder_frames != 0

    def _hold(self, gop: Gop) -> None:
        if self._held is not None:
            self._release_held(min(gop.timestamps))
        self._held = gop

    def _release_held(self, end_timestamp: int | None) -> None:
        if self._held is not None:
            self._held.end_timestamp = end_timestamp
            self._items.append(self._held)
            self._held = None

    def _close(self, end: GopEnd, *, is_complete: bool = False) -> None:
        """Deliver everything that is whole; the run is over.

        ``is_complete``: nothing that was to be presented before what has come is missing.
        """
        gop = self.gop
        if gop is not None:
            gop.end = end
            if not is_complete:
                self._leave_no_hole(gop)
            self._release_held(min(gop.timestamps) if len(gop) else self._key_timestamp)
            if len(gop):
                self._items.append(gop)
        self.gop = None
        self.data = bytearray()
        self._clear_access_unit()

    def _leave_no_hole(self, gop: Gop) -> None:
        """Cut off frames before whose presentation others are missing: they are in the gap."""
        keep, held = self._reordering.whole_frames(gop), self._held
        if keep == len(gop) or (keep == 0 and held is None):
            return
        self._statistics.frames -= len(gop) - keep
        self._statistics.frames_discarded += len(gop) - keep
        gop.cut(keep)
        if keep == 0 and held is not None:
            # Leading pictures of its key frame are missing: the run ends before all of them.
            held.end = gop.end
            self._release_held(None)

    def break_off(
        self, reason: DiscontinuityReason, packets: int, detail: str, *, is_complete: bool = False
    ) -> None:
        """The stream broke: cut where nothing is missing before and say why, once."""
        if self.gop is not None:
            self._reported.clear()
        self._close(GopEnd.DISCONTINUITY, is_complete=is_complete)
        if reason not in self._reported:
            self._reported.add(reason)
            self._items.append(Discontinuity(reason, packets, detail))

    def flush(self) -> None:
        """The connection ended."""
        self._close(GopEnd.FLUSH)
        self._reported.clear()

    def take(self) -> list[Gop | Discontinuity]:
        """What was finished since the last call."""
        items = self._items
        if items:
            self._items = []
        return items

    def excess(self) -> tuple[DiscontinuityReason, int, str] | None:
        """Whether the access unit at hand is beyond its bound."""
        size = len(self.data)
        if size <= self._limits.access_unit_bytes:
            return None
        return DiscontinuityReason.ACCESS_UNIT_TOO_LARGE, 0, f"{size} bytes"
