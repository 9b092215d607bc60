"""What the tests of the depacketisers share."""

from collections.abc import Iterable
from typing import Any

from unit.media.encoded import AccessUnit, Packetiser
from vigie.media.codec import VideoCodec
from vigie.media.depacketize import Depacketizer
from vigie.media.gop import Discontinuity, Gop


def push_all(reader: Depacketizer, packets: Iterable[bytes]) -> list[Gop | Discontinuity]:
    for number, packet in enumerate(packets):
        reader.push(packet, 0, len(packet), number)
    return reader.take()


def finish(reader: Depacketizer) -> list[Gop | Discontinuity]:
    reader.flush()
    return reader.take()


def packets_of(codec: VideoCodec, units: Iterable[AccessUnit], **options: Any) -> list[bytes]:
    packetiser = Packetiser(codec, **options)
    return [packet for unit in units for packet in packetiser.packets(unit)]


def samples(items: Iterable[Gop | Discontinuity]) -> list[tuple[int, bytes]]:
    out = []
    for gop in items:
        if isinstance(gop, Gop):
            assert sum(gop.sizes()) == gop.size_bytes
            out += [
                (at, bytes(frame)) for at, frame in zip(gop.timestamps, gop.frames, strict=True)
            ]
    return out
