"""The Transport, Session and Public fields of RTSP (RFC 2326 sections 12.39, 12.37, 10.1)."""

import re
from dataclasses import dataclass
from typing import Final

DEFAULT_TIMEOUT_SECONDS: Final = 60
_MIN_TIMEOUT_SECONDS: Final = 2
_MAX_TIMEOUT_SECONDS: Final = 3600
_MAX_KEEP_ALIVE_SECONDS: Final = 30.0
_INTERLEAVED: Final = re.compile(r"(\d{1,3})(?:\s*-\s*(\d{1,3}))?")
_MAX_CHANNEL: Final = 255


@dataclass(frozen=True, slots=True)
class Transport:
    """What the camera made of the requested transport.

    Attributes:
        is_interleaved: whether media comes over this connection.
        media_channel: channel of RTP.
        control_channel: channel of RTCP.
    """

    is_interleaved: bool
    media_channel: int
    control_channel: int


def parse_transport(text: str | None, requested: int) -> Transport:
    """Read the Transport field of a SETUP answer.

    Cameras that leave it out, or leave out the channels, mean what was requested; others assign
    channels of their own, which then count.
    """
    if text is None:
        return Transport(
            is_interleaved=True, media_channel=requested, control_channel=requested + 1
        )
    first = text.split(",", maxsplit=1)[0]
    parts = [part.strip() for part in first.split(";")]
    channels = next((part[12:] for part in parts if part.lower().startswith("interleaved=")), None)
    is_tcp = "TCP" in parts[0].upper() or channels is not None
    media, control = requested, requested + 1
    found = _INTERLEAVED.match(channels.strip()) if channels is not None else None
    if found is not None and int(found[1]) <= _MAX_CHANNEL:
        media = int(found[1])
        control = int(found[2]) if found[2] else media + 1
    if control == media or control > _MAX_CHANNEL:
        control = (media + 1) % (_MAX_CHANNEL + 1)
    return Transport(is_interleaved=is_tcp, media_channel=media, control_channel=control)


def parse_session(text: str | None) -> tuple[str, int]:
    """Identifier and timeout in seconds; 60 when unsaid, kept within 2 s and one hour."""
    if text is None:
        return "", DEFAULT_TIMEOUT_SECONDS
    identifier, *parameters = [part.strip() for part in text.split(";")]
    timeout = DEFAULT_TIMEOUT_SECONDS
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        value = value.strip()
        if name.strip().lower() == "timeout" and value.isascii() and value.isdigit():
            timeout = int(value[:6])
    return identifier, min(max(timeout, _MIN_TIMEOUT_SECONDS), _MAX_TIMEOUT_SECONDS)


def keep_alive_seconds(timeout_seconds: int) -> float:
    """How often to say that we are still there: half the timeout, every 30 s at the least."""
    return min(timeout_seconds / 2, _MAX_KEEP_ALIVE_SECONDS)


def parse_methods(values: list[str]) -> frozenset[str]:
    """The methods of Public fields, upper case; empty when the camera says nothing."""
    return frozenset(
        word.strip().upper() for value in values for word in value.split(",") if word.strip()
    )
