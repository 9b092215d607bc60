"""Damage done to the packets of one frame, reproducible from a seeded generator."""

import random
from typing import Final

from vigie.simcam.faults import Fault, FaultRequest
from vigie.simcam.marks import Codec

_UNDEFINED_H264: Final = 30  # RFC 6184, table 1: reserved
_UNDEFINED_H265: Final = 60  # RFC 7798, 4.4: above the structures it defines


def mutate_packets(
    packets: list[bytes], request: FaultRequest, generator: random.Random
) -> list[bytes]:
    """The packets of one frame after a packet fault.

    With ``fraction`` each packet is concerned with that probability; without, ``count`` packets in
    the middle of the frame are.
    """
    fraction = request.parameters.fraction
    if fraction is None:
        count = min(request.parameters.count or 1, len(packets))
        start = (len(packets) - count) // 2
        chosen = set(range(start, start + count))
    else:
        chosen = {i for i in range(len(packets)) if generator.random() < fraction}
    if request.fault is Fault.LOSE_PACKETS:
        return [packet for i, packet in enumerate(packets) if i not in chosen]
    if request.fault is Fault.DUPLICATE_PACKETS:
        return [p for i, packet in enumerate(packets) for p in [packet] * (1 + (i in chosen))]
    return _swap(packets, chosen)


def _swap(packets: list[bytes], chosen: set[int]) -> list[bytes]:
    swapped = list(packets)
    for index in sorted(chosen):
        other = index + 1 if index + 1 < len(swapped) else index - 1
        if other >= 0:
            swapped[index], swapped[other] = swapped[other], swapped[index]
    return swapped


def garbage_bytes(count: int) -> bytes:
    """Bytes that begin neither an interleaved frame nor a response (all above 0x7F)."""
    return bytes(0x80 | (i * 37 + 11) & 0x7F for i in range(count))


def garbage_packets(codec: Codec, count: int) -> list[bytes]:
    """RTP payloads whose NAL type means nothing."""
    first = bytes([0x60 | _UNDEFINED_H264]) if codec == "h264" else bytes([_UNDEFINED_H265 << 1, 1])
    return [first + garbage_bytes(100 + i) for i in range(count)]
