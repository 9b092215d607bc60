"""Coarser timelines for drawing: what is shorter than a pixel is told by its neighbours."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from vigie.recording.timeline.algebra import Entry


def coarsen(entries: Iterable[Entry], resolution_us: int) -> list[Entry]:
    """Merge entries shorter than ``resolution_us``; the window stays partitioned.

    Short entries that follow each other are gathered until together they are long enough to be
    drawn, and are then drawn as what takes most of their time. What remains too short goes to the
    entry before it, or after it at the very beginning. Of a single entry nothing is lost.
    """
    drawn: list[Entry] = []
    waiting: list[Entry] = []
    for entry in entries:
        if entry.duration_us < resolution_us:
            waiting.append(entry)
            if waiting[-1].end_us - waiting[0].start_us >= resolution_us:
                _append(drawn, _gather(waiting))
                waiting = []
            continue
        if waiting and drawn:
            drawn[-1] = _absorb(drawn[-1], waiting, end_us=waiting[-1].end_us)
        elif waiting:
            entry = _absorb(entry, waiting, start_us=waiting[0].start_us)  # noqa: PLW2901 - the
            # entry that follows takes what nobody before it could
        waiting = []
        _append(drawn, entry)
    if waiting and drawn:
        drawn[-1] = _absorb(drawn[-1], waiting, end_us=waiting[-1].end_us)
    elif waiting:
        drawn.append(_gather(waiting))
    return drawn


def _append(drawn: list[Entry], entry: Entry) -> None:
    if drawn and (drawn[-1].kind, drawn[-1].cause) == (entry.kind, entry.cause):
        merged = drawn[-1].merged + entry.merged + 1
        drawn[-1] = replace(drawn[-1], end_us=entry.end_us, merged=merged)
    else:
        drawn.append(entry)


def _gather(short: Sequence[Entry]) -> Entry:
    shares: dict[tuple[int, int], int] = {}
    for entry in short:
        says = (int(entry.kind), int(entry.cause or 0))
        shares[says] = shares.get(says, 0) + entry.duration_us
    most = max(shares.values())
    winner = next(
        entry for entry in short if shares[int(entry.kind), int(entry.cause or 0)] == most
    )
    start_us, end_us = short[0].start_us, short[-1].end_us
    merged = sum(entry.merged for entry in short) + len(short) - 1
    return replace(winner, start_us=start_us, end_us=end_us, merged=merged)


def _absorb(
    entry: Entry, short: Sequence[Entry], *, start_us: int | None = None, end_us: int | None = None
) -> Entry:
    merged = entry.merged + sum(other.merged for other in short) + len(short)
    return replace(
        entry,
        start_us=entry.start_us if start_us is None else start_us,
        end_us=entry.end_us if end_us is None else end_us,
        merged=merged,
    )
