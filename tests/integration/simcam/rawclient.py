"""A bare RTSP client on a socket, which shows what is really on the wire."""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from unit.simcam.rtpread import RtpPacket, parse_interleaved

TCP = {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1"}


@dataclass(frozen=True)
class Response:
    status: int
    headers: dict[str, str]
    challenges: list[str]
    body: str


class RawClient:
    """Sends requests; keeps interleaved frames that come in between."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = ""
        self.frames: list[bytes] = []
        self._serial = 0
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def __aenter__(self) -> Self:
        parts = urlsplit(self.url)
        assert parts.hostname is not None
        self._reader, self._writer = await asyncio.open_connection(
            parts.hostname, parts.port, limit=1 << 22
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            return

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def ask(self, method: str, uri: str | None = None, **headers: str) -> Response:
        self._serial += 1
        lines = [f"{method} {uri or self.url} RTSP/1.0", f"CSeq: {self._serial}"]
        if self.session:
            lines.append(f"Session: {self.session}")
        lines += [f"{name}: {value}" for name, value in headers.items()]
        await self.send(("\r\n".join(lines) + "\r\n\r\n").encode())
        response = await self._response()
        assert response.headers.get("cseq") == str(self._serial)
        return response

    async def _response(self) -> Response:
        while (first := await self._reader.readexactly(1)) == b"$":
            await self._keep_frame(first)
        head = (first + await self._reader.readuntil(b"\r\n\r\n")).decode()
        lines = head.strip().split("\r\n")
        pairs = [(line.partition(":")[0].lower(), line.partition(":")[2].strip()) for line in lines]
        headers = dict(pairs[1:])
        body = await self._reader.readexactly(int(headers.get("content-length", "0")))
        challenges = [value for name, value in pairs if name == "www-authenticate"]
        return Response(int(lines[0].split()[1]), headers, challenges, body.decode())

    async def _keep_frame(self, first: bytes) -> None:
        rest = await self._reader.readexactly(3)
        size = int.from_bytes(rest[1:], "big")
        self.frames.append(first + rest + await self._reader.readexactly(size))

    async def play(self, **headers: str) -> None:
        """SETUP the video track and PLAY."""
        answer = await self.ask("SETUP", f"{self.url}/trackID=0", **TCP, **headers)
        assert answer.status == 200
        self.session = answer.headers["session"].partition(";")[0]
        assert (await self.ask("PLAY", **headers)).status == 200

    async def read_frames(self, count: int) -> list[RtpPacket]:
        """Media packets until ``count`` more access units are complete."""
        complete = 0
        packets: list[RtpPacket] = []
        while complete < count:
            while not self.frames:
                first = await self._reader.readexactly(1)
                assert first == b"$", f"unframed byte {first!r}"
                await self._keep_frame(first)
            frame = self.frames.pop(0)
            if frame[1] == 0:
                packets.append(parse_interleaved(frame))
                complete += packets[-1].marker
        return packets

    async def read_to_end(self) -> bytes:
        """Whatever comes until the server closes."""
        try:
            return await self._reader.read()
        except ConnectionResetError:
            return b""
