"""The record of an object in the directory store: a small JSON file in a parallel tree."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from vigie.platform.objectstore.port import ObjectInfo

VERSION: Final = 1
_SHA256_DIGITS: Final = 64


class RecordDamagedError(Exception):
    """The record cannot be read: what it says about holds is unknown."""


@dataclass(frozen=True, slots=True)
class Record:
    """What is kept of an object beside its content; fields as in `ObjectInfo`."""

    key: str
    size_bytes: int
    sha256: str
    content_type: str
    metadata: Mapping[str, str]
    stored_at_us: int
    holds: frozenset[str] = frozenset()
    retain_until_us: int | None = None

    def to_json(self) -> bytes:
        """The file's content: UTF-8, keys sorted, one trailing newline."""
        fields = {
            "version": VERSION,
            "key": self.key,
            "size_bytes": self.size_bytes,
            "sha256": self.sha256,
            "content_type": self.content_type,
            "metadata": dict(self.metadata),
            "stored_at_us": self.stored_at_us,
            "holds": sorted(self.holds),
            "retain_until_us": self.retain_until_us,
        }
        return (json.dumps(fields, ensure_ascii=False, sort_keys=True) + "\n").encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read a record back.

        Raises:
            RecordDamagedError: it is not one, or of a version this program does not know.
        """
        try:
            fields: dict[str, Any] = json.loads(content)
            if fields["version"] != VERSION:
                raise RecordDamagedError(f"version {fields['version']} is not known")
            return cls(
                key=fields["key"],
                size_bytes=int(fields["size_bytes"]),
                sha256=fields["sha256"],
                content_type=fields["content_type"],
                metadata=dict(fields["metadata"]),
                stored_at_us=int(fields["stored_at_us"]),
                holds=frozenset(fields["holds"]),
                retain_until_us=fields["retain_until_us"],
            )
        except (ValueError, KeyError, TypeError) as error:
            raise RecordDamagedError(f"not a record: {error!r}") from error

    def info(self, size_bytes: int) -> ObjectInfo:
        """The object as the port shows it; the size is that of the file itself."""
        return ObjectInfo(
            key=self.key,
            size_bytes=size_bytes,
            sha256=self.sha256,
            content_type=self.content_type,
            metadata=self.metadata,
            stored_at_us=self.stored_at_us,
            holds=self.holds,
            retain_until_us=self.retain_until_us,
        )


def read_record(path: Path) -> Record | None:
    """The record at ``path``, or ``None`` when there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    with os.fdopen(descriptor, "rb") as file:
        return Record.from_json(file.read())


def foreign_info(key: str, state: os.stat_result) -> ObjectInfo:
    """What can be said of a file that has no readable record."""
    return ObjectInfo(
        key=key,
        size_bytes=state.st_size,
        sha256="",
        content_type="application/octet-stream",
        metadata={},
        stored_at_us=state.st_mtime_ns // 1000,
        holds=frozenset(),
        retain_until_us=None,
        foreign=True,
    )


def check_attributes(sha256: str, content_type: str, metadata: Mapping[str, str]) -> None:
    """Refuse what some store could not keep.

    Raises:
        ValueError: the digest is not lower-case hex, or an attribute is not printable ASCII.
    """
    if len(sha256) != _SHA256_DIGITS or set(sha256) - set("0123456789abcdef"):
        raise ValueError(f"a SHA-256 digest is 64 lower-case hexadecimal digits: {sha256!r}")
    for text in (content_type, *metadata, *metadata.values()):
        if not (text.isascii() and text.isprintable()):
            raise ValueError(f"attributes of objects are printable US-ASCII: {text!r}")
