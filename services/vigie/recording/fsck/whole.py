"""Whether the database file is whole: asked when everything is to be read."""

from collections.abc import AsyncIterator
from typing import Final

from vigie.recording.fsck.report import LOST, Finding, error
from vigie.recording.fsck.view import View

_MOST: Final = 20
_RESTORE: Final = (
    "stop the product, keep the file, restore the database from a backup, start it: it indexes"
    " anew what the bucket has"
)


async def check_database(view: View) -> AsyncIterator[Finding]:
    """I3: SQLite's own check of its file, pages and indexes (``PRAGMA integrity_check``)."""
    if not view.deep:
        return
    async with view.database.reading() as connection:
        if connection.dialect.name != "sqlite":
            return
        rows = await connection.exec_driver_sql(f"PRAGMA integrity_check({_MOST})")
        wrong = [text for (text,) in rows if text != "ok"]
    for text in wrong:
        yield error("I3", "the database file is damaged", _RESTORE, LOST, sqlite=text)
