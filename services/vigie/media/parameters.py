"""The parameter sets of a stream: compared byte for byte, gathered from SDP and from the stream."""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from vigie.media import h264, h265
from vigie.media.access_unit import RULES
from vigie.media.bits import MAX_PARAMETER_SET_BYTES
from vigie.media.codec import CodecConfiguration, VideoCodec
from vigie.media.errors import MalformedMedia, MediaReason, UnsupportedMedia

# H.264 allows 32 SPS and 256 PPS, avcC counts 31 and 255; no camera comes near.
_MAX_SETS: Final = 31


@dataclass(frozen=True)
class ParameterSets:
    """What a decoder needs before the first picture; equal when the bytes are.

    Each tuple is ordered by the identifier of the sets. ``vps`` is empty for H.264.
    """

    codec: VideoCodec
    vps: tuple[bytes, ...]
    sps: tuple[bytes, ...]
    pps: tuple[bytes, ...]

    @property
    def is_complete(self) -> bool:
        """Whether each kind that the codec needs is there."""
        return bool(self.sps and self.pps and (self.vps or self.codec is VideoCodec.H264))

    @cached_property
    def configuration(self) -> CodecConfiguration:
        """The sample entry, described by the first SPS; all SPS that one key frame uses agree.

        Raises MalformedMedia when the sets are missing or unreadable.
        """
        if self.codec is VideoCodec.H264:
            return h264.build_configuration(self.sps, self.pps)
        return h265.build_configuration(self.vps, self.sps, self.pps)

    @classmethod
    def from_configuration(cls, codec: VideoCodec, record: bytes) -> "ParameterSets":
        """From the payload of avcC or hvcC. Raises MalformedMedia."""
        if codec is VideoCodec.H264:
            sps, pps = h264.read_record(record)
            return cls(codec, (), tuple(sps), tuple(pps))
        return cls(codec, *(tuple(sets) for sets in h265.read_record(record)))


class _Held(NamedTuple):
    """A set as it is kept: its bytes, the number of the set it refers to, and an SPS read."""

    nal: bytes
    refers_to: int  # of an SPS the VPS, of a PPS the SPS
    sps: h264.Sps | h265.Sps | None = None


_Key = tuple[int, int]  # NAL unit type and identifier


class ParameterSetCollector:
    """Gathers parameter sets as NAL units come by: a set replaces the one of its number.

    Where they become too many, the one that was not seen for longest is forgotten, but never one
    that the last key frame uses: encoders number their sets on and on.
    """

    __slots__ = ("_codec", "_current", "_keys", "_sets", "_used", "changed")

    def __init__(self, codec: VideoCodec, initial: ParameterSets | None = None) -> None:
        self._codec = codec
        self._sets: dict[_Key, _Held] = {}  # seen last comes last
        self._keys: dict[bytes, _Key] = {}  # of the same sets, by their bytes
        self._used: frozenset[_Key] = frozenset()  # those of the last key frame
        self._current: tuple[int, ParameterSets] | None = None  # what its PPS led to
        self.changed = False
        if initial is not None:
            for nal in (*initial.vps, *initial.sps, *initial.pps):
                self.add(nal)

    def add(self, nal: bytes) -> None:
        """Take one parameter set NAL unit; other NAL units are ignored.

        Raises:
            MalformedMedia: it cannot be read.
        """
        key = self._keys.get(nal)
        if key is not None:  # nearly always: repeated at each key frame, and not read again
            self._sets[key] = self._sets.pop(key)
            return
        found = self._read(nal)
        if found is None:
            return
        key, held = found
        before = self._sets.pop(key, None)
        if before is not None:
            del self._keys[before.nal]
        elif len(self._sets) >= _MAX_SETS:
            self._forget_one()
        self._sets[key] = held
        self._keys[nal] = key
        self._current = None
        self.changed = True

    def current(self) -> ParameterSets:
        """All sets that are known; clears ``changed``."""
        self.changed = False
        return self._select(set(self._sets))

    def used_by(self, frame: bytes | bytearray) -> ParameterSets:
        """The sets that a key frame uses: those that lead from its first slice to its SPS.

        With them come other SPS that say the same of the picture under another number, and every
        PPS that refers to one of these: the frames behind may use them, and a stream that takes
        its sets in turn stays one run. Sets of another picture are left out, or a header would
        tell its size.

        Where the first slice refers to a set that never came, nobody can tell: all that did come
        are returned, and the frames are recorded as they came.
        """
        number = self._pps_number(frame)
        if self._current is None or self._current[0] != number:
            self._current = number, self._lead_from(number)
        return self._current[1]

    def _lead_from(self, number: int) -> ParameterSets:
        _, sps_kind, pps_kind = _KINDS[self._codec]
        pps = self._sets.get((pps_kind, number))
        active = None if pps is None else self._sets.get((sps_kind, pps.refers_to))
        if pps is None or active is None or active.sps is None:
            return self.current()
        self._used = frozenset(
            ((pps_kind, number), (sps_kind, pps.refers_to), (h265.VPS, active.refers_to))
        )
        picture = active.sps._replace(identifier=0)
        alike = {
            key
            for key, held in self._sets.items()
            if held.sps is not None and held.sps._replace(identifier=0) == picture
        }
        return self._select(
            alike
            | {
                (kind, identifier)
                for (kind, identifier), held in self._sets.items()
                if (kind == pps_kind and (sps_kind, held.refers_to) in alike)
                # One that is not named may be meant all the same: cameras err here.
                or (kind == h265.VPS and self._codec is VideoCodec.H265)
            }
        )

    def _select(self, keys: set[_Key]) -> ParameterSets:
        groups = [
            tuple(self._sets[key].nal for key in sorted(keys) if key[0] == kind)
            for kind in _KINDS[self._codec]
        ]
        return ParameterSets(self._codec, *groups)

    def _forget_one(self) -> None:
        key = next(key for key in self._sets if key not in self._used)
        del self._keys[self._sets.pop(key).nal]

    def _pps_number(self, frame: bytes | bytearray) -> int:
        """The number of the PPS of the first slice; negative when it cannot be read."""
        rules = RULES[self._codec]
        position, end = 0, len(frame)
        for _ in range(_MAX_LEADING_NALS):
            start = position + 4
            if start >= end:
                break
            position = start + int.from_bytes(frame[position:start], "big")
            if 1 << rules.nal_types[frame[start]] & rules.picture_mask:
                head = bytes(frame[start : min(position, start + _SLICE_HEAD_BYTES)])
                try:
                    return _SLICE_READERS[self._codec](head)
                except MalformedMedia:
                    return -1
        return -1

    def _read(self, nal: bytes) -> tuple[_Key, _Held] | None:
        if not nal:
            return None
        kind = RULES[self._codec].nal_types[nal[0]]
        read = _READERS[self._codec].get(kind)
        if read is None:
            return None
        if len(nal) > MAX_PARAMETER_SET_BYTES:
            raise MalformedMedia(f"{len(nal)} bytes", 0, "parameter_sets", MediaReason.TOO_LARGE)
        identifier, held = read(nal)
        return (kind, identifier), held


def _read_h264_sps(nal: bytes) -> tuple[int, _Held]:
    sps = h264.parse_sps(nal)
    return sps.identifier, _Held(nal, -1, sps)


def _read_h264_pps(nal: bytes) -> tuple[int, _Held]:
    identifier, sps = h264.pps_identifiers(nal)
    return identifier, _Held(nal, sps)


def _read_vps(nal: bytes) -> tuple[int, _Held]:
    return h265.vps_identifier(nal), _Held(nal, -1)


def _read_h265_sps(nal: bytes) -> tuple[int, _Held]:
    sps = h265.parse_sps(nal)
    return sps.identifier, _Held(nal, sps.vps_identifier, sps)


def _read_h265_pps(nal: bytes) -> tuple[int, _Held]:
    identifier, sps = h265.pps_identifiers(nal)
    return identifier, _Held(nal, sps)


# VPS, SPS, PPS, in the order of `ParameterSets`; no NAL unit has a negative type.
_KINDS: Final = {
    VideoCodec.H264: (-1, h264.SPS, h264.PPS),
    VideoCodec.H265: (h265.VPS, h265.SPS, h265.PPS),
}
_READERS: Final[dict[VideoCodec, dict[int, Callable[[bytes], tuple[int, _Held]]]]] = {
    VideoCodec.H264: {h264.SPS: _read_h264_sps, h264.PPS: _read_h264_pps},
    VideoCodec.H265: {
        h265.VPS: _read_vps, h265.SPS: _read_h265_sps, h265.PPS: _read_h265_pps,
    },
}  # fmt: skip
_SLICE_READERS: Final[dict[VideoCodec, Callable[[bytes], int]]] = {
    VideoCodec.H264: h264.slice_pps_identifier,
    VideoCodec.H265: h265.slice_pps_identifier,
}
_SLICE_HEAD_BYTES: Final = 24
# Before the first slice: delimiter, sets, SEI. It keeps frames of hostile cameras cheap.
_MAX_LEADING_NALS: Final = 64


def parameter_sets_from_fmtp(
    codec: VideoCodec, parameters: Mapping[str, str]
) -> ParameterSets | None:
    """The sets that an SDP announces in ``a=fmtp`` (RFC 6184 section 8.1, RFC 7798 section 7.1).

    ``parameters`` are the fmtp pairs, names in lower case. None when it announces none; sets that
    are incomplete are returned as they are (the stream will have the others).

    Raises:
        UnsupportedMedia: the stream comes interleaved (packetization-mode 2, DON fields).
        MalformedMedia: not base64, or unreadable sets.
    """
    if parameters.get("packetization-mode", "0").strip() == "2":
        raise UnsupportedMedia("H.264 packetization-mode 2 (interleaved)")
    for name in ("sprop-max-don-diff", "sprop-depack-buf-nalus"):
        if codec is VideoCodec.H265 and parameters.get(name, "0").strip() not in {"", "0"}:
            raise UnsupportedMedia(f"H.265 with {name} (interleaved)")
    names = (
        ("sprop-parameter-sets",)
        if codec is VideoCodec.H264
        else ("sprop-vps", "sprop-sps", "sprop-pps")
    )
    collector = ParameterSetCollector(codec)
    for name in names:
        for item in parameters.get(name, "").split(","):
            if item.strip():
                collector.add(_decode(item.strip(), name))
    return collector.current() if collector.changed else None


def _decode(item: str, name: str) -> bytes:
    try:
        return base64.b64decode(item + "=" * (-len(item) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedMedia("not base64", 0, f"fmtp.{name}") from error
