"""The directory store without asyncio: storing, holding, deleting. It blocks: for worker threads.

Reading, which needs neither locks nor a clock, is in `vigie.platform.objectstore.reading`.
"""

import contextlib
import os
import secrets
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from vigie.platform.clock import WallClock
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import FaultPoints
from vigie.platform.folders import sync_folder
from vigie.platform.objectstore.durable import sync_removal, write_durably
from vigie.platform.objectstore.failures import as_store_error
from vigie.platform.objectstore.mending import QUARANTINE_US, move_aside, new_record
from vigie.platform.objectstore.port import FileState, PutResult
from vigie.platform.objectstore.record import (
    Record,
    RecordDamagedError,
    foreign_info,
    read_record,
)
from vigie.platform.objectstore.source import bring, digest_of
from vigie.platform.objectstore.workspace import SweepReport, Workspace, is_regular
from vigie.platform.reasons import (
    KEY_INVALID,
    OBJECT_EXISTS,
    OBJECT_HELD,
    OBJECT_NOT_FOUND,
    OBJECT_RETAINED,
    RETENTION_SHORTENED,
    STORE_CHECKSUM_MISMATCH,
    STORE_UNAVAILABLE,
)

FAULT_POINTS: Final = (
    "store.put.begun",
    "store.put.copied",
    "store.put.verified",
    "store.put.described",
    "store.put.renamed",
    "store.put.durable",
    "store.describe.written",
    "store.describe.renamed",
    "store.delete.begun",
    "store.delete.unlinked",
    "store.delete.forgotten",
)
"""Steps of put, of a change of the record (holds, retention) and of delete."""

_STRIPES: Final = 64


class ObjectTree:
    """Changes objects and their records in one workspace. Thread-safe within one process."""

    def __init__(
        self, space: Workspace, wall_clock: WallClock, *, link_sources: bool, faults: FaultPoints
    ) -> None:
        self._space = space
        self._wall_clock = wall_clock
        self._link_sources = link_sources
        self._faults = faults
        # A key always maps to the same lock; 64 of them are enough not to meet by chance.
        self._locks = [threading.Lock() for _ in range(_STRIPES)]

    def prepare(self) -> None:
        """Make the hidden folders; remove the temporary files of a process that is gone."""
        with as_store_error("prepare"):
            self._space.prepare()
            self._space.remove_leftovers()

    # --- put -----------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        source: Path | bytes,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        written: FileState | None = None,
    ) -> PutResult:
        """Store ``source`` under ``key``; the numbered steps are those of `directory`."""
        path = self._space.content_path(key)
        with self._locked(key), contextlib.ExitStack() as cleanup:
            if (there := self._already_there(key, path, sha256)) is not None:
                return there
            temporary = self._space.new_temporary(cleanup)
            self._reach("store.put.begun")
            # 1 and 2: outside `as_store_error` as far as the source is concerned.
            size_bytes, same = bring(
                source, temporary, link=self._link_sources, written=written, failed=as_store_error
            )
            self._reach("store.put.copied")
            if not same:
                with as_store_error(f"verify {key}"):
                    _verify(key, sha256, digest_of(temporary))
            self._reach("store.put.verified")
            record = Record(
                key=key,
                size_bytes=size_bytes,
                sha256=sha256,
                content_type=content_type,
                metadata=dict(metadata),
                stored_at_us=self._wall_clock.now_us(),
            )
            with as_store_error(f"store {key}"):
                self._describe(record)  # 3
                self._reach("store.put.described")
                self._space.move(temporary, path)  # 4
                self._reach("store.put.renamed")
                sync_folder(path.parent)  # 5
                self._reach("store.put.durable")
            return PutResult(record.info(size_bytes), created=True)

    def _already_there(self, key: str, path: Path, sha256: str) -> PutResult | None:
        """The answer to a put of a key that has an object already; ``None`` when it has none."""
        with as_store_error(f"look for {key}"):
            if not os.path.lexists(path):
                return None
            if not is_regular(path):
                raise VigieError(
                    KEY_INVALID, f"{key!r} is a folder of other keys, or no file", field="key"
                )
            record = self._record_or_refuse(key)
            if record is not None and record.sha256 != sha256:
                raise VigieError(OBJECT_EXISTS, f"{key} is there with other content", key=key)
            # A replayed put is rare, and the source goes once we say yes: read what is there.
            found = digest_of(path)
            if found != sha256 and record is None:
                raise VigieError(OBJECT_EXISTS, f"{key} is there with other content", key=key)
            _verify(key, sha256, found)
            record = record or self._adopt(key, path, sha256)
            # The first put may have failed in between rename and sync.
            sync_folder(path.parent)
            return PutResult(record.info(path.stat().st_size), created=False)

    def _adopt(self, key: str, path: Path, sha256: str) -> Record:
        """Give a file that has none a record."""
        state = path.stat()
        foreign = foreign_info(key, state)
        record = Record(
            key=key,
            size_bytes=state.st_size,
            sha256=sha256,
            content_type=foreign.content_type,
            metadata={},
            stored_at_us=foreign.stored_at_us,
        )
        self._describe(record)
        return record

    # --- holds, retention, delete --------------------------------------------------------------

    def place_hold(self, key: str, hold_id: str) -> None:
        """See the port."""
        self._change(key, lambda record: replace(record, holds=record.holds | {hold_id}))

    def release_hold(self, key: str, hold_id: str) -> None:
        """See the port."""
        try:
            self._change(key, lambda record: replace(record, holds=record.holds - {hold_id}))
        except VigieError as error:
            if error.reason is not OBJECT_NOT_FOUND:
                raise

    def set_retention(self, key: str, retain_until_us: int) -> None:
        """See the port."""

        def extended(record: Record) -> Record:
            if record.retain_until_us is not None and retain_until_us < record.retain_until_us:
                raise VigieError(
                    RETENTION_SHORTENED,
                    f"{key} is retained until {record.retain_until_us}",
                    key=key,
                )
            return replace(record, retain_until_us=retain_until_us)

        self._change(key, extended)

    def delete(self, key: str) -> bool:
        """See the port: the content goes first, so that a hold never outlives into nothing."""
        path = self._space.content_path(key)
        with self._locked(key), as_store_error(f"delete {key}"):
            there = is_regular(path)
            if not there:
                self._space.require()
            if there and (record := self._record_or_refuse(key)) is not None:
                self._refuse_kept(record)
            self._reach("store.delete.begun")
            if there:
                path.unlink()
                sync_removal(path.parent)
                self._reach("store.delete.unlinked")
            record_path = self._space.record_path(key)
            if record_path.exists():
                record_path.unlink()
                sync_removal(record_path.parent)
                self._reach("store.delete.forgotten")
            self._space.folders.remove_empty(path.parent)
            self._space.folders.remove_empty(record_path.parent)
            return there

    def _refuse_kept(self, record: Record) -> None:
        if record.holds:
            names = ", ".join(sorted(record.holds))
            raise VigieError(OBJECT_HELD, f"{record.key} is held by {names}", key=record.key)
        until_us = record.retain_until_us
        if until_us is not None and self._wall_clock.now_us() < until_us:
            raise VigieError(
                OBJECT_RETAINED, f"{record.key} is retained until {until_us}", key=record.key
            )

    def _change(self, key: str, change: Callable[[Record], Record]) -> None:
        path = self._space.content_path(key)
        with self._locked(key), as_store_error(f"change {key}"):
            self._space.require_object(key, path)
            record = self._record_or_refuse(key) or self._adopt(key, path, digest_of(path))
            changed = change(record)
            if changed != record:
                self._describe(changed)

    # --- mending -------------------------------------------------------------------------------

    def redescribe(
        self,
        key: str,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        holds: frozenset[str],
    ) -> None:
        """Write the record of an object anew, because it is missing, damaged or was altered.

        Holds and retention dates that can still be read are kept.

        Raises:
            VigieError: OBJECT_NOT_FOUND; STORE_CHECKSUM_MISMATCH: the content is another.
        """
        path = self._space.content_path(key)
        with self._locked(key), as_store_error(f"describe {key}"):
            self._space.require_object(key, path)
            _verify(key, sha256, digest_of(path))
            record = new_record(
                path,
                self._space.record_path(key),
                key=key,
                sha256=sha256,
                content_type=content_type,
                metadata=metadata,
                holds=holds,
            )
            self._describe(record)

    def set_aside(self, key: str) -> None:
        """Move an object, and its record, out of the bucket into the store's quarantine.

        What is held or retained stays: a hold counts, whoever placed it.

        Raises:
            VigieError: OBJECT_NOT_FOUND, OBJECT_HELD, OBJECT_RETAINED.
        """
        path = self._space.content_path(key)
        with self._locked(key), as_store_error(f"set aside {key}"):
            self._space.require_object(key, path)
            with contextlib.suppress(RecordDamagedError):
                if (record := read_record(self._space.record_path(key))) is not None:
                    self._refuse_kept(record)
            move_aside(self._space, key, self._wall_clock.now_us())

    # --- upkeep --------------------------------------------------------------------------------

    def probe(self) -> None:
        """Write, sync, read and remove a small file."""
        content = secrets.token_bytes(64)
        with as_store_error("probe"), contextlib.ExitStack() as cleanup:
            temporary = self._space.new_temporary(cleanup)
            write_durably(temporary, content)
            sync_folder(self._space.temporary)
            if temporary.read_bytes() != content:
                raise VigieError(STORE_UNAVAILABLE, "the store gives back other bytes than given")

    def sweep(self) -> SweepReport:
        """Remove temporary files nobody writes, and records whose object is not there."""
        with as_store_error("sweep"):
            temporary_files = self._space.remove_leftovers()
            orphans = 0
            for folder, _, names in os.walk(self._space.records, topdown=False):
                for name in names:
                    orphans += self._remove_orphan(Path(folder, name))
            before_us = self._wall_clock.now_us() - QUARANTINE_US
            return SweepReport(temporary_files, orphans, self._space.remove_set_aside(before_us))

    def _remove_orphan(self, record_path: Path) -> bool:
        key = self._space.key_of_record(record_path)
        with self._locked(key):
            if os.path.lexists(self._space.content_path(key)) or not record_path.exists():
                return False
            record_path.unlink()
            self._space.folders.remove_empty(record_path.parent)
            return True

    # --- private -------------------------------------------------------------------------------

    def _record_or_refuse(self, key: str) -> Record | None:
        """The record; when it is damaged the object counts as held: nobody knows."""
        try:
            return read_record(self._space.record_path(key))
        except RecordDamagedError as error:
            raise VigieError(
                STORE_UNAVAILABLE, f"the record of {key} is damaged: {error}", key=key
            ) from error

    def _describe(self, record: Record) -> None:
        """Write a record durably in place of the one before."""
        with contextlib.ExitStack() as cleanup:
            temporary = self._space.new_temporary(cleanup)
            write_durably(temporary, record.to_json())
            self._reach("store.describe.written")
            path = self._space.record_path(record.key)
            self._space.move(temporary, path)
            self._reach("store.describe.renamed")
            sync_folder(path.parent)

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        with self._locks[zlib.crc32(key.encode()) % _STRIPES]:
            yield

    def _reach(self, name: str) -> None:
        with as_store_error(name):
            self._faults.reach(name)


def _verify(key: str, given: str, found: str) -> None:
    if given != found:
        raise VigieError(
            STORE_CHECKSUM_MISMATCH,
            f"{key}: the content has SHA-256 {found}, not {given}",
            key=key,
        )
