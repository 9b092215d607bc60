"""I2, I8 and I9 for the spool of this machine: what lies there, and whether it is what it was.

The records beside the footage are JSON that carries its own digest; their form is that of
docs/design/write-path.md ("The spool"). Nothing is changed: closing, uploading and putting into
quarantine are ingest's work, at its next start or its next attempt.
"""

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from vigie.recording.fsck.report import ITSELF, LAW, LOST, Finding, error, warning
from vigie.recording.fsck.view import View
from vigie.recording.index.tables import DESTRUCTIONS, SEGMENTS

_RUN: Final = re.compile(r"[0-9a-f]{32}")
_NUMBERED: Final = re.compile(r"(\d{6,})\.(m4v|json)")
_DAY_US: Final = 86_400_000_000
_QUARANTINE_US: Final = 29 * _DAY_US
"""Ingest destroys what lies there for 28 days; a day of grace."""
_MONTH_US: Final = 31 * _DAY_US
_ASIDE: Final = "ingest puts it into quarantine and tells the loss as a gap, at its next attempt"
_NEXT_START: Final = "ingest mends it at its next start"


@dataclass(frozen=True, slots=True)
class SpooledRun:
    """A run that lies in the spool."""

    path: Path
    media: frozenset[int]
    records: frozenset[int]
    ended: bool

    @property
    def run(self) -> str:
        """Its identifier."""
        return self.path.name

    @property
    def camera(self) -> str:
        """Whose it is."""
        return self.path.parent.name


@dataclass(slots=True)
class Spool:
    """What lies in a spool."""

    root: Path
    runs: list[SpooledRun] = field(default_factory=list)
    strangers: list[Path] = field(default_factory=list)

    def read(self, view: View) -> None:
        """Note what lies there (blocking: run it in a thread)."""
        for camera in _entries(self.root / "runs"):
            if not camera.is_dir():
                self.strangers.append(camera)
                continue
            for run in _entries(camera):
                if run.is_dir() and _RUN.fullmatch(run.name):
                    self._take(run, view)
                else:
                    self.strangers.append(run)

    def _take(self, path: Path, view: View) -> None:
        names = {entry.name for entry in _entries(path)}
        found = [match for name in names if (match := _NUMBERED.fullmatch(name))]
        media = frozenset(int(match[1]) for match in found if match[2] == "m4v")
        records = frozenset(int(match[1]) for match in found if match[2] == "json")
        run = SpooledRun(path, media, records, "end.json" in names)
        self.runs.append(run)
        view.spooled.update((run.run, number) for number in media)
        if run.ended:
            view.ending.add(run.run)


async def check_spool(view: View, spool: Spool) -> AsyncIterator[Finding]:
    """Everything about the spool."""
    for path in spool.strangers:
        what = "the spool has something that is no run of a camera"
        yield warning("I2", what, _NEXT_START, ITSELF, path=path)
    for run in spool.runs:
        for finding in await asyncio.to_thread(_run_record, run, view):
            yield finding
        for number in sorted(run.media):
            async for finding in _media(view, run, number):
                yield finding
        for number in sorted(run.records - run.media):
            async for finding in _record_alone(view, run, number):
                yield finding
    async for finding in _quarantine(view, spool.root / "quarantine"):
        yield finding


def _run_record(run: SpooledRun, view: View) -> list[Finding]:
    """The record of a run: there as long as it has footage, and its own."""
    where = {"camera": run.camera, "run": run.run, "path": run.path}
    if not run.media or _age_us(run.path, view) < view.now_us - view.bound_us:
        return []
    body = _read(run.path / "run.json")
    if body is None and run.path.exists():
        what = "a run in the spool has no readable record"
        return [
            error("I2", what, "ingest puts it into quarantine at its next start", LOST, **where)
        ]
    if body is not None and (body.get("camera"), body.get("run")) != (run.camera, run.run):
        what = "a run lies in the spool under another name"
        return [
            error("I2", what, "ingest puts it into quarantine at its next start", LOST, **where)
        ]
    return []


async def _media(view: View, run: SpooledRun, number: int) -> AsyncIterator[Finding]:
    path = run.path / f"{number:06d}.m4v"
    age_us = await asyncio.to_thread(_age_us, path, view)
    if age_us < view.now_us - view.bound_us:
        return
    where = {"camera": run.camera, "run": run.run, "number": number, "path": path}
    indexed = await _indexed(view, run, number)
    wrong = None
    if not indexed and number in run.records:
        wrong = await asyncio.to_thread(_altered, view, run, number, path)
    if not await asyncio.to_thread(path.exists):
        return
    if indexed:
        what, remedy = "a spool file was left behind after its event", "ingest removes it"
        yield warning("I2", what, f"{remedy} at its next start", ITSELF, **where)
    elif wrong is not None:
        yield error("I8", wrong, _ASIDE, LOST, **where)
    elif number in run.records:
        what, remedy = "a spool file waits for its upload", "look at the store and at ingest's log"
        yield warning("I2", what, remedy, ITSELF, **where)
    else:
        what = "a segment in the spool was never closed"
        yield warning("I2", what, "ingest closes it at its next start", ITSELF, **where)
    if age_us > _MONTH_US + view.now_us - view.bound_us:
        remedy = "look at why it is not uploaded; remove it, on record"
        yield error("I9", "the spool keeps footage beyond its time", remedy, LAW, **where)


def _altered(view: View, run: SpooledRun, number: int, path: Path) -> str | None:
    """What is wrong with a closed segment; by its digest when everything is to be read."""
    record = run.path / f"{number:06d}.json"
    body = _read(record)
    if body is None:
        return "the record of a segment in the spool was altered" if record.exists() else None
    if (body.get("run"), body.get("number")) != (run.run, number):
        return "a segment in the spool has the record of another"
    try:
        if path.stat().st_size != body.get("size_bytes"):
            return "a segment in the spool has another size than its record says"
        if view.deep:
            with path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != body.get("sha256"):
                return "a segment in the spool has other bytes than were recorded"
    except FileNotFoundError:
        return None
    return None


async def _record_alone(view: View, run: SpooledRun, number: int) -> AsyncIterator[Finding]:
    """A record without media: acknowledged, or its file was taken away."""
    path = run.path / f"{number:06d}.json"
    if await asyncio.to_thread(_age_us, path, view) < view.now_us - view.bound_us:
        return
    if await _indexed(view, run, number) or not await asyncio.to_thread(path.exists):
        return
    yield error(
        "I2",
        "the file of a closed segment vanished from the spool before its event",
        "look for it; ingest tells its loss at its next start",
        LOST,
        camera=run.camera,
        run=run.run,
        number=number,
        path=path,
    )


async def _indexed(view: View, run: SpooledRun, number: int) -> bool:
    """Whether a segment is in the index or the register."""
    async with view.database.reading() as connection:
        for table in (SEGMENTS, DESTRUCTIONS):
            query = select(table.c.object_key).where(
                table.c.run == run.run, table.c.number == number
            )
            if (await connection.execute(query)).first() is not None:
                return True
    return False


async def _quarantine(view: View, folder: Path) -> AsyncIterator[Finding]:
    """What was put away: it is footage perhaps, so a person looks, and the law's month counts."""
    for path, why, age_us in await asyncio.to_thread(lambda: list(_put_away(folder, view))):
        remedy = "look at it; ingest destroys it after 28 days"
        yield warning(
            "I2", f"something lies in the quarantine of the spool: {why}", remedy, ITSELF, path=path
        )
        if age_us > _QUARANTINE_US:
            what = "the quarantine of the spool keeps what may be footage beyond its time"
            yield error("I9", what, "start ingest: it destroys it at its start", LAW, path=path)


def _put_away(folder: Path, view: View) -> Iterator[tuple[Path, str, int]]:
    for path in _entries(folder):
        if path.suffix == ".why":
            continue
        note = path.with_name(path.name + ".why")
        why = note.read_text("utf-8").strip() if note.exists() else "altered"
        yield path, why, _age_us(path, view)


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []  # uploaded between listing and looking, or no spool at all


def _age_us(path: Path, view: View) -> int:
    """How long ago a file was last written; -1: it is gone."""
    try:
        return view.now_us - path.lstat().st_mtime_ns // 1000
    except FileNotFoundError:
        return -1


def _read(path: Path) -> dict[str, Any] | None:
    """The body of a record, or ``None`` when it is missing or not what was written."""
    try:
        envelope = json.loads(path.read_bytes())
        body = envelope["body"]
        digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
        return body if isinstance(body, dict) and digest == envelope["sha256"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
