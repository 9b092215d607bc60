"""Streams from real encoders, and a small packetiser, for the tests of the media package."""

import functools
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg

from vigie.media.codec import VideoCodec

FRAME_TICKS = 3600  # 25 frames a second at 90 kHz


@dataclass(frozen=True)
class AccessUnit:
    """One frame in decode order: presentation time in ticks and its NAL units."""

    timestamp: int
    nals: tuple[bytes, ...]

    @property
    def data(self) -> bytes:
        return b"".join(struct.pack("!I", len(nal)) + nal for nal in self.nals)


@functools.cache
def encode(
    codec: VideoCodec, *, size: str = "320x180", frames: int = 60, gop: int = 15,
    b_frames: int = 0, open_gop: bool = False, aud: bool = False,
) -> tuple[AccessUnit, ...]:  # fmt: skip
    """Frames that x264 or x265 made of a test picture, parameter sets before each key frame."""
    common = f"keyint={gop}:min-keyint={gop}:scenecut=0:bframes={b_frames}:aud={int(aud)}"
    common += f":open-gop={int(open_gop)}:repeat-headers=1"
    if codec is VideoCodec.H264:
        options = ["-c:v", "libx264", "-x264-params", common + ":threads=1:b-adapt=0"]
    else:
        common += ":pools=1:frame-threads=1:b-adapt=0:log-level=none"
        options = ["-c:v", "libx265", "-x265-params", common]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stream.mkv"
        command = [
            imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "lavfi",
            "-i", f"testsrc2=size={size}:rate=25", "-frames:v", str(frames),
            *options, "-preset", "ultrafast" if not b_frames else "veryfast",
            "-pix_fmt", "yuv420p", "-y", str(path),
        ]  # fmt: skip
        subprocess.run(command, check=True)
        return tuple(read_access_units(path))


def read_access_units(path: Path) -> Iterator[AccessUnit]:
    with av.open(str(path), "r") as container:
        stream = container.streams.video[0]
        name = "h264_mp4toannexb" if stream.codec.name == "h264" else "hevc_mp4toannexb"
        bsf = av.BitStreamFilterContext(name, stream)
        for packet in container.demux(stream):
            if packet.size == 0 or packet.pts is None:
                continue
            ticks = Fraction(packet.pts) * packet.time_base * 90_000
            for filtered in bsf.filter(packet):
                yield AccessUnit(round(ticks), without_copies(split_annexb(bytes(filtered)), name))


def without_copies(nals: list[bytes], name: str) -> tuple[bytes, ...]:
    """The filter puts the sets of the container before those of the stream: keep the latter."""
    h264 = name.startswith("h264")
    opens = [nal[0] & 0x1F == 7 if h264 else nal[0] >> 1 == 32 for nal in nals]
    at = max((index for index, opening in enumerate(opens) if opening), default=0)
    delimiter = 0x09 if h264 else 0x46
    head = [nal for nal in nals[:at] if nal[0] == delimiter]
    return (*head[:1], *nals[at:])


def split_annexb(data: bytes) -> list[bytes]:
    return [part.rstrip(b"\0") for part in data.split(b"\0\0\1") if part.strip(b"\0")]


@dataclass
class Packetiser:
    """Makes RTP packets of access units: single NAL units, fragments, optionally aggregates."""

    codec: VideoCodec
    mtu: int = 1200
    payload_type: int = 96
    sequence: int = 0
    ssrc: int = 0x11223344
    offset: int = 0
    aggregate: bool = False
    marker: bool = True

    def packets(self, unit: AccessUnit) -> list[bytes]:
        payloads = list(self._payloads(unit.nals))
        out = []
        for index, payload in enumerate(payloads):
            last = self.marker and index == len(payloads) - 1
            out.append(self.packet(payload, unit.timestamp, marker=last))
        return out

    def packet(self, payload: bytes, timestamp: int, *, marker: bool) -> bytes:
        second = self.payload_type | (0x80 if marker else 0)
        ticks = (timestamp + self.offset) & 0xFFFFFFFF
        head = struct.pack("!BBHII", 0x80, second, self.sequence & 0xFFFF, ticks, self.ssrc)
        self.sequence += 1
        return head + payload

    def _payloads(self, nals: tuple[bytes, ...]) -> Iterator[bytes]:
        small: list[bytes] = []
        for nal in nals:
            if self.aggregate and len(nal) < self.mtu // 4:
                small.append(nal)
                continue
            yield from self._flush(small)
            yield from [nal] if len(nal) <= self.mtu else self._fragments(nal)
        yield from self._flush(small)

    def _flush(self, small: list[bytes]) -> Iterator[bytes]:
        if len(small) == 1:
            yield small[0]
        elif small:
            body = b"".join(struct.pack("!H", len(nal)) + nal for nal in small)
            yield (b"\x78" if self.codec is VideoCodec.H264 else b"\x60\x01") + body
        small.clear()

    def _fragments(self, nal: bytes) -> Iterator[bytes]:
        if self.codec is VideoCodec.H264:
            head, kind, body = bytes((nal[0] & 0xE0 | 28,)), nal[0] & 0x1F, nal[1:]
        else:
            head = bytes((nal[0] & 0x81 | 49 << 1, nal[1]))
            kind, body = nal[0] >> 1 & 0x3F, nal[2:]
        pieces = [body[at : at + self.mtu] for at in range(0, len(body), self.mtu)]
        for index, piece in enumerate(pieces):
            flags = (0x80 if index == 0 else 0) | (0x40 if index == len(pieces) - 1 else 0)
            yield head + bytes((kind | flags,)) + piece


def interleave(packets: list[bytes], channel: int = 0) -> bytes:
    return b"".join(struct.pack("!BBH", 0x24, channel, len(each)) + each for each in packets)
