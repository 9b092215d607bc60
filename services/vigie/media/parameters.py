"""The parameter sets of a stream: compared byte for byte, gathered from SDP and from the stream."""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from vigie.media import h264, h265
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
        """The sample entry. Raises MalformedMedia when the sets are missing or unreadable."""
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


class ParameterSetCollector:
    """Gathers parameter sets as NAL units come by: a set replaces the one of its number."""

    __slots__ = ("_codec", "_sets", "changed")

    def __init__(self, codec: VideoCodec, initial: ParameterSets | None = None) -> None:
        self._codec = codec
        self._sets: dict[tuple[int, int], bytes] = {}
        self.changed = False
        if initial is not None:
            for nal in (*initial.vps, *initial.sps, *initial.pps):
                self.add(nal)

    def add(self, nal: bytes) -> None:
        """Take one parameter set NAL unit; other NAL units are ignored.

        Raises:
            MalformedMedia: its identifier cannot be read, or there are too many of them.
        """
        key = self._key(nal)
        if key is None or self._sets.get(key) == nal:
            return
        if key not in self._sets and len(self._sets) >= _MAX_SETS:
            raise MalformedMedia(
                "too many parameter sets", 0, "parameter_sets", MediaReason.TOO_LARGE
            )
        self._sets[key] = nal
        self.changed = True

    def current(self) -> ParameterSets:
        """All sets seen so far; clears ``changed``."""
        self.changed = False
        kinds = (
            (h264.SPS, h264.SPS, h264.PPS)
            if self._codec is VideoCodec.H264
            else (h265.VPS, h265.SPS, h265.PPS)
        )
        groups = [
            tuple(nal for key, nal in sorted(self._sets.items()) if key[0] == kind)
            for kind in kinds
        ]
        if self._codec is VideoCodec.H264:
            groups[0] = ()
        return ParameterSets(self._codec, groups[0], groups[1], groups[2])

    def _key(self, nal: bytes) -> tuple[int, int] | None:
        if not nal:
            return None
        h264_stream = self._codec is VideoCodec.H264
        kind = (h264 if h264_stream else h265).nal_type(nal[0])
        identify = (_H264_IDENTIFIERS if h264_stream else _H265_IDENTIFIERS).get(kind)
        if identify is None:
            return None
        if len(nal) > MAX_PARAMETER_SET_BYTES:
            raise MalformedMedia(f"{len(nal)} bytes", 0, "parameter_sets", MediaReason.TOO_LARGE)
        return kind, identify(nal)


_H264_IDENTIFIERS: Final[dict[int, Callable[[bytes], int]]] = {
    h264.SPS: lambda nal: h264.parse_sps(nal).identifier,
    h264.PPS: h264.pps_identifier,
}
_H265_IDENTIFIERS: Final[dict[int, Callable[[bytes], int]]] = {
    h265.VPS: h265.vps_identifier,
    h265.SPS: lambda nal: h265.parse_sps(nal).identifier,
    h265.PPS: h265.pps_identifier,
}


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
