"""The trees that a power cut could have left, drawn from a record of operations.

What was forced to the disk is there. Of the rest, a file system may keep any part (POSIX promises
nothing), and a journalling one (ext4, XFS) keeps it in order. `Cut` makes one such tree:

- a file: its content at its last sync; of the writes after that each page is there, or zero, or
  missing, whatever its neighbours are;
- an entry of a folder: as of the folder's last sync, or as of any later operation on that name;
  a rename within a folder happens whole or not at all, the old name of a rename never goes before
  the new one is there;
- the database: as of its last commit.
"""

import os
import random
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

from faults.disk_record import (
    ROOT_INODE,
    Bytes,
    Commit,
    Length,
    Name,
    Operation,
    Record,
    Sync,
    replayed,
)

PAGE: Final = 4096


class Keeping(StrEnum):
    """What becomes of operations that were not forced to the disk."""

    NOTHING = "none of it"
    EVERYTHING = "all of it"
    NAMES = "the names, and zeros for content"
    CONTENT = "the content, and none of the names"
    JOURNAL = "a part, in order, as a journalling file system does"
    CHAOS = "any part, in any order"
    BUT_SOME = "all but what missing syncs should have forced"


Entry = tuple[int, str]


@dataclass(slots=True)
class _State:
    """What the operations up to the cut have left in flight."""

    durable_content: dict[int, bytes]
    durable_names: dict[Entry, int | None]
    pending_content: dict[int, list[tuple[int, Bytes | Length]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    pending_names: dict[Entry, list[tuple[int, Name]]] = field(
        default_factory=lambda: defaultdict(list)
    )
    image: bytes | None = None
    journal: int = 0

    def sync(self, inode: int, *, folder: bool) -> None:
        if not folder:
            waiting = self.pending_content.pop(inode, [])
            before = self.durable_content.get(inode, b"")
            self.durable_content[inode] = replayed(before, [each for _, each in waiting])
            return
        for entry in [entry for entry in self.pending_names if entry[0] == inode]:
            self.durable_names[entry] = self.pending_names.pop(entry)[-1][1].inode


def state_at(record: Record, operations: Sequence[Operation]) -> _State:
    """What is durable and what is in flight after some operations of a record."""
    names = {
        (folder, name): inode
        for folder, entries in record.names.items()
        for name, inode in entries.items()
    }
    state = _State(dict(record.content), dict(names), image=record.image)
    for index, each in enumerate(operations):
        if isinstance(each, Bytes | Length):
            state.pending_content[each.inode].append((index, each))
        elif isinstance(each, Name):
            state.pending_names[each.folder, each.name].append((index, each))
        elif isinstance(each, Sync):
            state.sync(each.inode, folder=each.inode in record.folders)
            state.journal = index
        elif isinstance(each, Commit):
            state.image = each.image
            state.journal = index
    return state


class Cut:
    """One tree that a power cut after some operations could have left.

    Args:
        record: what was recorded.
        operations: of it, up to the cut.
        keeping: what becomes of what was not forced to the disk.
        chance: draws.
        lost: for `Keeping.BUT_SOME`: the inodes of which pending operations may be lost.
    """

    def __init__(
        self,
        record: Record,
        operations: Sequence[Operation],
        keeping: Keeping,
        chance: random.Random,
        *,
        lost: Collection[int] = (),
    ) -> None:
        self._record = record
        self._state = state_at(record, operations)
        self._keeping = keeping
        self._chance = chance
        self._lost = frozenset(lost)
        self._kept_after = self._draw_bound()
        self._until = chance.randint(self._state.journal, len(operations))
        self._names = self._keep_names()

    @property
    def image(self) -> bytes | None:
        """The database."""
        return self._state.image

    def build(self, root: Path, database: str) -> None:
        """Make the tree in an empty folder; the database only where its folder is left."""
        made: dict[int, Path] = {}
        self._build_folder(root, ROOT_INODE, made)
        file = root / database
        if self.image is not None and file.parent.is_dir():
            file.write_bytes(self.image)

    def _build_folder(self, path: Path, inode: int, made: dict[int, Path]) -> None:
        for name, target in self._names.get(inode, {}).items():
            child = path / name
            if target in self._record.folders:
                child.mkdir()
                self._build_folder(child, target, made)
            elif target in made:
                os.link(made[target], child)
            else:
                child.write_bytes(self._content(target))
                made[target] = child

    # --- names ---------------------------------------------------------------------------------

    def _draw_bound(self) -> int:
        """For `Keeping.BUT_SOME`: names changed after this operation are kept.

        All are lost, or the earlier ones only: the worst order is the reverse one.
        """
        at = [
            chain[-1][0] for (folder, _), chain in self._state.pending_names.items()
            if folder in self._lost
        ]  # fmt: skip
        if not at or self._chance.random() < 0.5:
            return len(self._record.operations)
        return self._chance.choice(at)

    def _keep_names(self) -> dict[int, dict[str, int]]:
        pending = self._state.pending_names
        kept = {entry: self._keep_chain(chain) for entry, chain in pending.items()}
        self._respect_renames(kept)
        entries = dict(self._state.durable_names)
        for entry, count in kept.items():
            if count:
                entries[entry] = pending[entry][count - 1][1].inode
        folders: dict[int, dict[str, int]] = defaultdict(dict)
        for (folder, name), inode in entries.items():
            if inode is not None:
                folders[folder][name] = inode
        return folders

    def _keep_chain(self, chain: Sequence[tuple[int, Name]]) -> int:
        """How many of the operations on one name are kept."""
        everything = len(chain)
        match self._keeping:
            case Keeping.NOTHING | Keeping.CONTENT:
                kept = 0
            case Keeping.EVERYTHING | Keeping.NAMES:
                kept = everything
            case Keeping.JOURNAL:
                kept = sum(index <= self._until for index, _ in chain)
            case Keeping.CHAOS:
                kept = self._chance.randint(0, everything)
            case Keeping.BUT_SOME:
                is_lost = chain[0][1].folder in self._lost and chain[-1][0] <= self._kept_after
                kept = 0 if is_lost else everything
        return kept

    def _respect_renames(self, kept: dict[Entry, int]) -> None:
        """Tie the old name of each rename to the new one."""
        pending = self._state.pending_names
        for entry, chain in pending.items():
            for position, (index, each) in enumerate(chain):
                if each.moved_to is None:
                    continue
                there = pending.get(each.moved_to, [])
                # Set in the operation just before; durable when it is no longer pending.
                ahead = [at for at, (i, _) in enumerate(there) if i == index - 1]
                new_is_kept = not ahead or kept[each.moved_to] > ahead[0]
                if not new_is_kept:
                    kept[entry] = min(kept[entry], position)
                elif each.moved_to[0] == each.folder:
                    kept[entry] = max(kept[entry], position + 1)

    # --- content -------------------------------------------------------------------------------

    def _content(self, inode: int) -> bytes:
        durable = self._state.durable_content.get(inode, b"")
        waiting = self._state.pending_content.get(inode, [])
        operations = [each for _, each in waiting]
        keeping = self._keeping
        if keeping is Keeping.BUT_SOME:
            keeping = Keeping.CHAOS if inode in self._lost else Keeping.EVERYTHING
        match keeping:
            case Keeping.NOTHING:
                kept = durable
            case Keeping.NAMES:
                kept = replayed(durable, [_zeros(each) for each in operations])
            case Keeping.JOURNAL:
                kept = self._in_order(durable, waiting)
            case Keeping.CHAOS if waiting:
                kept = self._scattered(durable, operations)
            case _:
                kept = replayed(durable, operations)
        return kept

    def _in_order(self, durable: bytes, waiting: Sequence[tuple[int, Bytes | Length]]) -> bytes:
        """A prefix; the size of a file grows only behind its data, page by page."""
        whole = replayed(durable, [each for index, each in waiting if index <= self._until])
        if len(whole) <= len(durable) or self._chance.random() < 0.3:
            return whole
        pages = self._chance.randint(len(durable) // PAGE, len(whole) // PAGE)
        return whole[: max(len(durable), pages * PAGE)]

    def _scattered(self, durable: bytes, operations: Sequence[Bytes | Length]) -> bytes:
        """Any pages of any operation; the size from before or from after."""
        choice = self._chance.random()
        if choice < 0.25:
            return durable
        if choice < 0.5:
            return replayed(durable, [_zeros(each) for each in operations])
        whole = replayed(durable, operations)
        made = bytearray(replayed(durable, [_zeros(each) for each in operations]))
        for offset in range(0, len(whole), PAGE):
            if self._chance.random() < 0.5:
                made[offset : offset + PAGE] = whole[offset : offset + PAGE]
        return bytes(made)


def _zeros(operation: Bytes | Length) -> Bytes | Length:
    if isinstance(operation, Length):
        return operation
    return Bytes(operation.inode, operation.offset, bytes(len(operation.data)))
