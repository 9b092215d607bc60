"""RTSP 1.0 messages on the wire (RFC 2326): requests in, responses out, RTCP in between."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

_LIMIT_BYTES: Final = 64 * 1024
_FRAME_HEADER_BYTES: Final = 4
_REQUEST_LINE_WORDS: Final = 3
_REASONS: Final[Mapping[int, str]] = {
    200: "OK",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    459: "Aggregate Operation Not Allowed",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
}


class ProtocolViolationError(Exception):
    """The peer sent something that is neither RTSP nor an interleaved frame."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request; header names are lower case."""

    method: str
    uri: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def path(self) -> str:
        """Path of the URI without a slash at either end ("*" for OPTIONS *)."""
        _, separator, rest = self.uri.partition("://")
        path = rest.partition("/")[2] if separator else self.uri
        return path.partition("?")[0].strip("/")


@dataclass(frozen=True, slots=True)
class Interleaved:
    """A frame on an interleaved channel (RTCP from the client)."""

    channel: int
    payload: bytes


class MessageReader:
    """Cuts a byte stream into requests and interleaved frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Request | Interleaved]:
        """Take bytes, yield what is complete.

        Raises:
            ProtocolViolationError: the bytes cannot be RTSP.
        """
        self._buffer += data
        while (message := self._next()) is not None:
            yield message
        if len(self._buffer) > _LIMIT_BYTES:
            raise ProtocolViolationError("message too long")

    def _next(self) -> Request | Interleaved | None:
        buffer = self._buffer
        if buffer[:1] == b"$":
            if len(buffer) < _FRAME_HEADER_BYTES:
                return None
            end = 4 + int.from_bytes(buffer[2:4], "big")
            if len(buffer) < end:
                return None
            frame = Interleaved(buffer[1], bytes(buffer[4:end]))
            del buffer[:end]
            return frame
        head_end = buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return None
        method, uri, headers = _parse_head(bytes(buffer[:head_end]))
        length = headers.get("content-length", "0")
        if not length.isdigit():
            raise ProtocolViolationError(f"Content-Length {length!r}")
        end = head_end + 4 + int(length)
        if len(buffer) < end:
            return None
        body = bytes(buffer[head_end + 4 : end])
        del buffer[:end]
        return Request(method, uri, headers, body)


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    lines = head.decode("utf-8", "replace").split("\r\n")
    parts = lines[0].split()
    if len(parts) != _REQUEST_LINE_WORDS or not parts[2].startswith("RTSP/"):
        raise ProtocolViolationError(f"request line {lines[0][:80]!r}")
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, separator, value = line.partition(":")
        if not separator:
            raise ProtocolViolationError(f"header {line[:80]!r}")
        headers[name.strip().lower()] = value.strip()
    return parts[0], parts[1], headers


def build_response(
    status: int, cseq: str | None, headers: Sequence[tuple[str, str]] = (), body: bytes = b""
) -> bytes:
    """A response as bytes."""
    lines = [f"RTSP/1.0 {status} {_REASONS.get(status, 'Error')}"]
    if cseq is not None:
        lines.append(f"CSeq: {cseq}")
    lines += [f"{name}: {value}" for name, value in headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
