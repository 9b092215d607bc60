"""What the tests of the depacketisers share."""

from collections.abc import Iterable, Sequence
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


def without_hole(units: Sequence[AccessUnit], end: int, begin: int = 0) -> list[AccessUnit]:
    """What of ``units[begin:end]`` may be shown, as one run, when it ends there.

    Without the frame that is shown last and what came behind it, where frames that would be shown
    before it are still to come.
    """
    came = units[begin:end]
    latest = max(range(len(came)), key=lambda at: came[at].timestamp)
    missing = any(unit.timestamp < came[latest].timestamp for unit in units[end:])
    return list(came[:latest] if missing else came)


def samples(items: Iterable[Gop | Discontinuity]) -> list[tuple[int, bytes]]:
    out = []
    for gop in items:
        if isinstance(gop, Gop):
            assert sum(gop.sizes()) == gop.size_bytes
            out += [
                (at, bytes(frame)) for at, frame in zip(gop.timestamps, gop.frames, strict=True)
            ]
    return out


def runs(items: Iterable[Gop | Discontinuity]) -> list[list[int]]:
    """The presentation times of each run, ascending."""
    out: list[list[int]] = []
    for item in items:
        if isinstance(item, Gop):
            if item.starts_run:
                out.append([])
            out[-1] += item.timestamps
    return [sorted(times) for times in out]
