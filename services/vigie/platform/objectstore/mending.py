"""Mending a directory store: records made anew, objects that are not ours set aside. Blocking."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from vigie.platform.folders import sync_folder
from vigie.platform.objectstore.durable import sync_removal
from vigie.platform.objectstore.record import Record, RecordDamagedError, read_record
from vigie.platform.objectstore.workspace import Workspace

QUARANTINE_US: Final = 28 * 86_400_000_000
"""What is set aside may be footage: no copy outlives the shortest calendar month (CSI L252-5)."""


def new_record(
    path: Path,
    record_path: Path,
    *,
    key: str,
    sha256: str,
    content_type: str,
    metadata: Mapping[str, str],
    holds: frozenset[str],
) -> Record:
    """A record for an object that lies at ``path``.

    Holds and the retention date of the old record are kept where it can still be read.
    """
    try:
        known = read_record(record_path)
    except RecordDamagedError:
        known = None
    state = path.stat()
    return Record(
        key=key,
        size_bytes=state.st_size,
        sha256=sha256,
        content_type=content_type,
        metadata=dict(metadata),
        stored_at_us=known.stored_at_us if known else state.st_mtime_ns // 1000,
        holds=holds | (known.holds if known else frozenset()),
        retain_until_us=known.retain_until_us if known else None,
    )


def move_aside(space: Workspace, key: str, now_us: int) -> None:
    """Move content and record of an object into the quarantine; its time there begins now."""
    path, record_path = space.content_path(key), space.record_path(key)
    aside = space.new_place_aside(key)
    if record_path.exists():
        shutil.copyfile(record_path, space.record_aside(aside))
    space.move(path, aside)
    os.utime(aside, ns=(now_us * 1000, now_us * 1000))
    sync_folder(aside.parent)
    sync_removal(path.parent)
    record_path.unlink(missing_ok=True)
    space.folders.remove_empty(path.parent)
    space.folders.remove_empty(record_path.parent)
