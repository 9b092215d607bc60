"""Where the segments of a run are cut, so that those of many cameras are not cut together.

After a start all cameras begin within seconds. Were their segments equally long, all would be
closed, uploaded and listed within the same seconds, for weeks: the store idles, then has half a
minute's footage of every camera to take at once, and what is on its way comes to the timeline late.
"""

from typing import Final
from zlib import crc32

from vigie.ingest.engine import TIMESCALE

_LEAST_TICKS: Final = 10 * TIMESCALE
"""Shorter segments are closed often anyhow, and half of one would see too few frames: a camera may
hold back those of its first five seconds (`vigie.ingest.timekeeping.START_UP_US`)."""
_SHARES: Final = 1 << 32


def first_lengths(run: str, segment_ticks: int) -> tuple[int, ...]:
    """The lengths of the first segments of a run; all others are ``segment_ticks`` long.

    Their sum, modulo ``segment_ticks``, is anywhere with equal probability. None is longer than
    the others are, and none shorter than half of it: the start of a run is fixed by the frames of
    its first segment (``docs/design/time.md``), which wants to see some seconds of them. Segments
    of less than ten seconds are all alike.

    Args:
        run: its identifier.
        segment_ticks: length of a segment.
    """
    if segment_ticks < _LEAST_TICKS:
        return ()
    # A checksum, since the leading digits of the identifier are the time.
    share = (crc32(run.encode()) + 1) / _SHARES
    if share >= 0.5:  # noqa: PLR2004 - the least share that may stand alone
        return (round(share * segment_ticks),)
    return (round((1 + share) / 2 * segment_ticks),) * 2
