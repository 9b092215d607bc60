"""RTSP messages (RFC 2326 sections 4 to 7): reading them from a buffer, writing requests.

Lenient where cameras are known to be wrong: bare line feeds, folded lines, odd spacing, no reason
phrase, blank lines between messages, a session description without Content-Length.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from vigie.ingest.rtsp.errors import MalformedMessageError

Buffer = bytes | bytearray | memoryview

MAX_HEADER_BYTES: Final = 32 * 1024
MAX_BODY_BYTES: Final = 256 * 1024
_MAX_FIRST_LINE_BYTES: Final = 4096
_MAX_FIELDS: Final = 200
_STATUS_LINE: Final = re.compile(r"RTSP/\d+\.\d+[ \t]+(\d{3})(?:[ \t]+(.*))?")
_REQUEST_LINE: Final = re.compile(r"([A-Z][A-Z_]{2,31})[ \t]+(\S+)[ \t]+RTSP/\d+\.\d+[ \t]*")
_START: Final = re.compile(rb"(?:RTSP/|[A-Z][A-Z_]{2,31}[ \t])")
_PARTIAL_START: Final = re.compile(rb"[A-Z][A-Z_]{0,31}(?:/[0-9.]{0,8})?")
_HEADER_END: Final = re.compile(rb"\n\r?\n")
_LINE_END: Final = re.compile(rb"[\r\n]")
_SDP_LINES: Final = re.compile(rb"(?:[a-z]=[^\r\n]*(?:\r\n|\n|\r)+)*(?:[a-z](?:=[^\r\n]*)?)?")


class Headers:
    """Header fields: names without regard to case, repeated ones kept in order."""

    __slots__ = ("_fields",)

    def __init__(self, fields: list[tuple[str, str]] | None = None) -> None:
        self._fields: dict[str, list[str]] = {}
        for name, value in fields or ():
            self._fields.setdefault(name.lower(), []).append(value)

    def get(self, name: str) -> str | None:
        """The first value of a field, None when it is absent."""
        values = self._fields.get(name.lower())
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        """Every value of a field, in order."""
        return list(self._fields.get(name.lower(), ()))


@dataclass(frozen=True, slots=True)
class Response:
    """What a camera answers."""

    status: int
    reason: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Request:
    """What a camera asks of us (RFC 2326 section 10 allows it several methods)."""

    method: str
    uri: str
    headers: Headers = field(default_factory=Headers)
    body: bytes = b""


Message = Response | Request


def may_start(buffer: Buffer, start: int, end: int) -> bool:
    """Whether ``buffer[start:end]`` is, or may yet become, the beginning of a message."""
    head = bytes(buffer[start : min(end, start + 40)])
    return bool(_START.match(head)) or bool(_PARTIAL_START.fullmatch(head))


def read_message(
    buffer: Buffer, start: int, end: int, *, paused: bool = False
) -> tuple[Message, int] | None:
    """Read the message that begins at ``start``.

    Args:
        buffer: what has come in.
        start: where the message begins.
        end: where what has come in ends.
        paused: nothing more came for a while; a body of unsaid length ends here.

    Returns:
        The message and where the next thing begins; None when it has not come in completely.

    Raises:
        MalformedMessageError: it is no message, or larger than the limits.
    """
    # While a camera plays this is asked at each byte that is no packet: what is none is told by
    # its first bytes, then by its first line, before anything is searched that is far away.
    if not may_start(buffer, start, end) or not _may_go_on(buffer, start, end):
        raise MalformedMessageError("the other side does not speak RTSP")
    found = _HEADER_END.search(buffer, start, min(end, start + MAX_HEADER_BYTES + 4))
    if found is None:
        if end - start > MAX_HEADER_BYTES:
            raise MalformedMessageError("an RTSP header without end")
        return None
    head = bytes(buffer[start : found.start()]).removesuffix(b"\r")
    first, headers = _read_head(head.decode("utf-8", "replace"))
    body_start = found.end()
    length = _body_length(buffer, body_start, end, headers, paused=paused)
    if length is None or body_start + length > end:
        return None
    body = bytes(buffer[body_start : body_start + length])
    return _build(first, headers, body), body_start + length


def _may_go_on(buffer: Buffer, start: int, end: int) -> bool:
    """Whether the first line, where it has come, is one of a message."""
    found = _LINE_END.search(buffer, start, min(end, start + _MAX_FIRST_LINE_BYTES))
    if found is None:
        return end - start < _MAX_FIRST_LINE_BYTES
    line = bytes(buffer[start : found.start()]).decode("utf-8", "replace").rstrip()
    return bool(_STATUS_LINE.fullmatch(line) or _REQUEST_LINE.fullmatch(line))


def _read_head(text: str) -> tuple[str, Headers]:
    lines: list[str] = []
    for raw in re.split(r"\r\n|\n|\r", text):
        if raw[:1] in {" ", "\t"} and len(lines) > 1:
            lines[-1] += " " + raw.strip()  # folded (RFC 2326 section 4.2, RFC 822)
        else:
            lines.append(raw.rstrip())
    if len(lines) > _MAX_FIELDS:
        raise MalformedMessageError(f"more than {_MAX_FIELDS} header fields")
    fields = []
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:  # a line without colon says nothing; cameras do print such
            fields.append((name.strip(), value.strip()))
    return lines[0], Headers(fields)


def _body_length(
    buffer: Buffer, start: int, end: int, headers: Headers, *, paused: bool
) -> int | None:
    text = headers.get("Content-Length")
    if text is None:
        if "sdp" not in (headers.get("Content-Type") or "").lower():
            return 0
        return _unsaid_length(buffer, start, min(end, start + MAX_BODY_BYTES), paused=paused)
    if not text.isascii() or not text.isdigit() or len(text) > 9:  # noqa: PLR2004 - int() of endless digits is slow
        raise MalformedMessageError("a Content-Length that is no number")
    if int(text) > MAX_BODY_BYTES:
        raise MalformedMessageError(f"a body of {text} bytes")
    return int(text)


def _unsaid_length(buffer: Buffer, start: int, end: int, *, paused: bool) -> int | None:
    """Length of a session description that nobody announced: as far as its lines go."""
    found = _SDP_LINES.match(buffer, start, end)
    stop = found.end() if found else start
    return stop - start if stop < end or paused else None


def _build(first: str, headers: Headers, body: bytes) -> Message:
    status = _STATUS_LINE.fullmatch(first)
    if status is not None:
        return Response(int(status[1]), (status[2] or "").strip(), headers, body)
    request = _REQUEST_LINE.fullmatch(first)
    if request is not None:
        return Request(request[1], request[2], headers, body)
    raise MalformedMessageError("the other side does not speak RTSP")


def write_request(method: str, uri: str, cseq: int, fields: list[tuple[str, str]]) -> bytes:
    """A request without body, ready to be sent."""
    lines = [f"{method} {uri} RTSP/1.0", f"CSeq: {cseq}"]
    lines += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join([*lines, "", ""]).encode()


def write_response(
    status: int, reason: str, cseq: str | None, fields: list[tuple[str, str]]
) -> bytes:
    """A response without body to a request of the camera."""
    lines = [f"RTSP/1.0 {status} {reason}"]
    if cseq is not None:
        lines.append(f"CSeq: {cseq}")
    lines += [f"{name}: {value}" for name, value in fields]
    return "\r\n".join([*lines, "", ""]).encode()
