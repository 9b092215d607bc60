"""Names that survive the loss of power (POSIX: a name is durable when its folder is synced)."""

import contextlib
import os
import secrets
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable.

    Raises:
        OSError: they may not be.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_file_durably(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Put a small file in its place, whole or not at all, whatever ends this process.

    Args:
        path: what it replaces, if anything.
        content: of the file.
        mode: its permissions.

    Raises:
        OSError: it is not there, or not durably.
    """
    temporary = path.with_name(path.name + ".new")
    # A half that a killed process has left may have other permissions.
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def write_shared_file_durably(path: Path, content: bytes) -> None:
    """The same where several processes may write the file at once: the last one's stands, whole.

    Args:
        path: what it replaces, if anything.
        content: of the file.

    Raises:
        OSError: it is not there, or not durably.
    """
    own = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    write_file_durably(own, content)
    own.replace(path)
    sync_folder(path.parent)


def make_durable_folder(folder: Path, mode: int = 0o777) -> None:
    """Make sure that ``folder`` exists and that its name, and those of its parents, are durable.

    Everything put into a folder goes with it when its own name is lost. Each level is made durable
    before the next is made; so whatever is there already was, but for the deepest: the process
    that made it may have been killed before it could.

    Args:
        folder: to be made; so are its parents.
        mode: of ``folder`` itself when it is made.

    Raises:
        OSError: it cannot be made, or not durably.
    """
    folder = Path(os.path.abspath(folder))  # noqa: PTH100 - Path.resolve would follow links
    missing: list[Path] = []
    there = folder
    while not there.is_dir() and there != there.parent:
        missing.append(there)
        there = there.parent
    # What somebody else has made may lie where we may not look; then it is theirs to keep.
    with contextlib.suppress(PermissionError):
        sync_folder(there.parent)
    for one in reversed(missing):
        one.mkdir(mode=mode if one == folder else 0o777, exist_ok=True)
        sync_folder(one.parent)
