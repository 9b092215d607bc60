"""What was said of each of many keys, more than memory may hold, ticked off one page at a time."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from vigie.platform.errors import VigieError
from vigie.platform.reasons import DATABASE_UNAVAILABLE

_CACHE_KIB: Final = 32 * 1024
_PAGE: Final = 1000
_SELECT: Final = "SELECT print FROM told WHERE key = ?"
_TICK: Final = "UPDATE told SET ticked = 1 WHERE key = ?"


class Tally:
    """Key -> what was said of it last; not for use by several tasks at a time.

    It is a temporary database of SQLite, which has no name and is gone with the process: it goes
    into the folder of temporary files as far as it does not fit in 32 MiB.

    Every method raises `VigieError` DATABASE_UNAVAILABLE where that folder takes no more.
    """

    def __init__(self) -> None:
        # The calls follow one another, each in whatever thread is free.
        self._database = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        with _failures():
            self._database.execute("PRAGMA journal_mode = OFF")
            self._database.execute("PRAGMA synchronous = OFF")
            self._database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            self._database.execute(
                "CREATE TABLE told (key TEXT PRIMARY KEY, print BLOB NOT NULL,"
                " ticked INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID"
            )

    async def put(self, said: Mapping[str, bytes]) -> None:
        """Keep what is said of these keys, in place of what was said before."""
        await asyncio.to_thread(self._put, said)

    async def tick(self, keys: Sequence[str]) -> dict[str, bytes]:
        """What was said of these keys, as far as something was; they are ticked off."""
        return await asyncio.to_thread(self._tick, keys)

    async def left(self) -> AsyncIterator[Sequence[str]]:
        """The keys that were never ticked off, in order, in pages."""
        after = ""
        while page := await asyncio.to_thread(self._left, after):
            yield page
            after = page[-1]

    def close(self) -> None:
        """Forget everything."""
        self._database.close()

    def _put(self, said: Mapping[str, bytes]) -> None:
        with _failures():
            self._database.execute("BEGIN")
            self._database.executemany(
                "INSERT INTO told (key, print) VALUES (?, ?)"
                " ON CONFLICT (key) DO UPDATE SET print = excluded.print",
                said.items(),
            )
            self._database.execute("COMMIT")

    def _tick(self, keys: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        with _failures():
            self._database.execute("BEGIN")
            for key in keys:
                if (row := self._database.execute(_SELECT, (key,)).fetchone()) is not None:
                    found[key] = row[0]
                    self._database.execute(_TICK, (key,))
            self._database.execute("COMMIT")
        return found

    def _left(self, after: str) -> list[str]:
        query = "SELECT key FROM told WHERE key > ? AND NOT ticked ORDER BY key LIMIT ?"
        with _failures():
            return [key for (key,) in self._database.execute(query, (after, _PAGE))]


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        what = f"what was read cannot be kept in the folder of temporary files: {error}"
        raise VigieError(DATABASE_UNAVAILABLE, what) from error
