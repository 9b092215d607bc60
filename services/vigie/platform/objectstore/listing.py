"""Listing a tree of folders in the byte order of keys, a folder at a time.

Within one folder, names sorted as bytes are *not* in the order of keys: ``a-b/x`` comes before
``a/x`` because ``-`` (0x2D) is below ``/`` (0x2F). Sorting sub-folders by their name *with* the
slash gives exactly the order of keys: all keys below a folder begin with that string, and no
file's name contains a slash. Memory is bounded by the folders on one path, whatever the number of
objects.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from vigie.platform.objectstore.keys import RESERVED_PART


def list_files(root: Path, prefix: str, start_after: str) -> Iterator[tuple[str, os.stat_result]]:
    """Keys (and ``stat``) of the regular files under ``root``, in byte order of keys.

    Symbolic links are never followed and never listed. Folders and files that vanish while they
    are being listed are left out.
    """
    wanted, after = os.fsencode(prefix), os.fsencode(start_after)
    for key, entry in _walk(os.fsencode(root), _deepest_folder(wanted), wanted, after):
        try:
            state = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield _key_text(key), state


def list_folder(root: Path, prefix: str) -> tuple[list[str], list[tuple[str, os.stat_result]]]:
    """Sub-folders (with their slash) and regular files one level below a prefix, in byte order."""
    folders: list[str] = []
    files: list[tuple[str, os.stat_result]] = []
    folder = _deepest_folder(os.fsencode(prefix))
    if prefix and not folder:
        return folders, files
    for key, entry in _sorted_entries(os.fsencode(root), folder):
        if key.endswith(b"/"):
            folders.append(_key_text(key))
            continue
        try:
            files.append((_key_text(key), entry.stat(follow_symlinks=False)))
        except FileNotFoundError:
            continue
    return folders, files


def _walk(
    root: bytes, folder: bytes, prefix: bytes, after: bytes
) -> Iterator[tuple[bytes, os.DirEntry[bytes]]]:
    for key, entry in _sorted_entries(root, folder):
        if key.endswith(b"/"):
            overlaps = key.startswith(prefix) or prefix.startswith(key)
            all_before = key <= after and not after.startswith(key)
            if overlaps and not all_before:
                yield from _walk(root, key, prefix, after)
        elif key.startswith(prefix) and key > after:
            yield key, entry


def _sorted_entries(root: bytes, folder: bytes) -> list[tuple[bytes, os.DirEntry[bytes]]]:
    """Entries of one folder with their keys; a sub-folder's key ends in a slash."""
    entries = []
    try:
        with os.scandir(root + b"/" + folder) as scan:
            for entry in scan:
                if not folder and entry.name == RESERVED_PART.encode():
                    continue
                if entry.is_dir(follow_symlinks=False):
                    entries.append((folder + entry.name + b"/", entry))
                elif entry.is_file(follow_symlinks=False):
                    entries.append((folder + entry.name, entry))
    except (FileNotFoundError, NotADirectoryError):
        return []
    entries.sort(key=lambda pair: pair[0])
    return entries


def _deepest_folder(prefix: bytes) -> bytes:
    """The folder all keys with ``prefix`` are in, with its slash; empty for the root."""
    folder, slash, _ = prefix.rpartition(b"/")
    parts = folder.split(b"/")
    if not slash or any(part in {b"", b".", b".."} for part in parts):
        return b""
    return folder + slash


def _key_text(key: bytes) -> str:
    # A name that is not UTF-8 cannot be one of ours; it is shown, and cannot be addressed.
    return key.decode("utf-8", "backslashreplace")
