"""Folds entries of the register of destructions at the end of their time.

Each destroyed object has an entry, 2,880 a camera and day with segments of 30 s. After `ENTRY_DAYS`
the database keeps, instead of entries, which footage they were: camera, run, numbers and times, a
few rows a camera and day. Timelines go on saying DESTROYED, and so does a rebuilt index. What was
told of each single object stays in topic ``destructions`` as long as that is kept.
"""

from typing import Final

from sqlalchemy import delete, select

from vigie.platform.clock import MICROSECONDS_PER_SECOND
from vigie.platform.database import Database
from vigie.recording.index import spans
from vigie.recording.index.tables import DESTRUCTIONS, FOLDED_DESTRUCTIONS

ENTRY_DAYS: Final = 92
"""How long each destroyed object has an entry of its own: three months."""
_DAY_US: Final = 24 * 3600 * MICROSECONDS_PER_SECOND
_PIECE: Final = 500


def folded_before_us(now_us: int) -> int:
    """Entries of objects that were gone before are folded, or about to be."""
    return now_us - ENTRY_DAYS * _DAY_US


async def fold_register(database: Database, now_us: int) -> int:
    """Fold every entry whose object has been gone for `ENTRY_DAYS`, a piece at a time.

    Returns:
        How many entries were folded.

    Raises:
        VigieError: DATABASE_UNAVAILABLE; what was folded stays folded.
    """
    before_us = folded_before_us(now_us)
    folded = 0
    while count := await _fold_piece(database, before_us):
        folded += count
    return folded


async def _fold_piece(database: Database, before_us: int) -> int:
    column = DESTRUCTIONS.c.object_key
    expired = (
        select(column)
        .where(DESTRUCTIONS.c.destroyed_us < before_us)
        .order_by(DESTRUCTIONS.c.destroyed_us, column)
        .limit(_PIECE)
    )
    async with database.transaction() as connection:
        keys = (await connection.execute(expired)).scalars().all()
        # Two processes may be at it: what is folded is what this one has removed.
        removed = delete(DESTRUCTIONS).where(column.in_(keys)).returning(*DESTRUCTIONS.c)
        rows = (await connection.execute(removed)).all()
        gone = [spans.destroyed_segment(row) for row in rows]
        await spans.add_segments(connection, FOLDED_DESTRUCTIONS, gone)
    return len(keys)
