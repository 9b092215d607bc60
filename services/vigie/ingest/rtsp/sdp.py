"""Session descriptions (RFC 8866) as far as a recorder of video needs them."""

import re
from dataclasses import dataclass, field
from typing import Final

from vigie.ingest.rtsp.errors import UnsupportedDescriptionError

_MAX_LINES: Final = 4000
_MAX_MEDIA: Final = 64
_RTPMAP: Final = re.compile(r"(\d{1,3})\s+([^/\s]+)\s*/\s*(\d{1,9})")
_FMTP: Final = re.compile(r"(\d{1,3})\s+(.*)")
# Static payload types of video (RFC 3551 table 5): named in messages, none can be recorded.
_STATIC: Final = {25: "CELB", 26: "JPEG", 28: "NV", 31: "H261", 32: "MPV", 33: "MP2T", 34: "H263"}
_VIDEO_CLOCK_HZ: Final = 90_000
_MAX_PAYLOAD_TYPE: Final = 127  # seven bits (RFC 3550 section 5.1)
CODECS: Final = {"H264": "h264", "H265": "h265", "HEVC": "h265"}


@dataclass(slots=True)
class Media:
    """One ``m=`` section.

    Attributes:
        kind: ``video``, ``audio``, ``application`` ...
        payload_types: formats in order of preference.
        encodings: payload type to (name in upper case, clock rate in Hz).
        formats: payload type to ``fmtp`` parameters, names in lower case.
        control: the ``a=control`` attribute; empty when absent.
    """

    kind: str
    payload_types: list[int] = field(default_factory=list)
    encodings: dict[int, tuple[str, int]] = field(default_factory=dict)
    formats: dict[int, dict[str, str]] = field(default_factory=dict)
    control: str = ""


@dataclass(slots=True)
class Description:
    """A session description.

    Attributes:
        control: the ``a=control`` attribute of the session; empty when absent.
        media: its sections in order.
    """

    control: str = ""
    media: list[Media] = field(default_factory=list)

    @property
    def has_audio(self) -> bool:
        """Whether sound is offered."""
        return any(media.kind == "audio" for media in self.media)


@dataclass(frozen=True, slots=True)
class VideoTrack:
    """The track that is set up.

    Attributes:
        codec: ``h264`` or ``h265``.
        payload_type: RTP payload type it comes under.
        control: its ``a=control``; empty when absent.
        format_parameters: ``fmtp`` parameters, names in lower case.
    """

    codec: str
    payload_type: int
    control: str
    format_parameters: dict[str, str]


def parse(body: bytes) -> Description:
    """Read a session description; what it does not understand it leaves out (RFC 8866 section 5).

    Raises:
        UnsupportedDescriptionError: it is empty, binary or beyond the limits.
    """
    text = body.decode("utf-8", "replace").lstrip("\ufeff\r\n ")
    lines = re.split(r"[\r\n]+", text)
    if len(lines) > _MAX_LINES:
        raise UnsupportedDescriptionError("the session description has too many lines")
    description = Description()
    current: Media | None = None
    seen = False
    for line in lines:
        kind, equals, value = line.strip().partition("=")
        if not equals or len(kind.strip()) != 1:
            continue
        seen = True
        if kind.strip() == "m":
            current = _read_media(value)
            description.media.append(current)
            if len(description.media) > _MAX_MEDIA:
                raise UnsupportedDescriptionError("the session description has too many media")
        elif kind.strip() == "a":
            _read_attribute(description, current, value.strip())
    if not seen:
        raise UnsupportedDescriptionError("the session description is empty or not readable")
    return description


def _read_media(value: str) -> Media:
    words = value.split()
    media = Media(words[0].lower() if words else "")
    media.payload_types = [
        int(word)
        for word in words[3:]
        if word.isascii() and word.isdigit() and len(word) <= 3 and int(word) <= _MAX_PAYLOAD_TYPE  # noqa: PLR2004 - payload types have three digits
    ]
    return media


def _read_attribute(description: Description, media: Media | None, text: str) -> None:
    name, _, value = text.partition(":")
    name, value = name.strip().lower(), value.strip()
    if name == "control":
        if media is None:
            description.control = value
        else:
            media.control = value
    elif media is not None and name == "rtpmap":
        found = _RTPMAP.match(value)
        if found is not None and int(found[1]) <= _MAX_PAYLOAD_TYPE:
            media.encodings[int(found[1])] = (found[2].upper(), int(found[3]))
    elif media is not None and name == "fmtp":
        found = _FMTP.match(value)
        if found is not None:
            media.formats.setdefault(int(found[1]), {}).update(_read_format(found[2]))


def _read_format(text: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for part in text.split(";"):
        name, _, value = part.partition("=")  # base64 values may hold further equals signs
        if name.strip():
            parameters[name.strip().lower()] = value.strip()
    return parameters


def choose_video(description: Description) -> VideoTrack:
    """The first video track that can be recorded.

    Raises:
        UnsupportedDescriptionError: there is none; the text says what is offered instead.
    """
    offered: list[str] = []
    for media in description.media:
        if media.kind != "video":
            continue
        for payload_type in media.payload_types or sorted(media.encodings):
            name, clock = media.encodings.get(
                payload_type, (_STATIC.get(payload_type, f"type {payload_type}"), _VIDEO_CLOCK_HZ)
            )
            codec = CODECS.get(name)
            if codec is not None and clock == _VIDEO_CLOCK_HZ:
                return VideoTrack(
                    codec, payload_type, media.control, media.formats.get(payload_type, {})
                )
            offered.append(f"{name[:16]}/{clock}")
    if not offered:
        raise UnsupportedDescriptionError("the camera offers no video")
    names = ", ".join(offered[:5])
    raise UnsupportedDescriptionError(f"no H.264 or H.265 video at 90 kHz is offered, only {names}")
