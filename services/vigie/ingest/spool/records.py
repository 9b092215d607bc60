"""The small durable records beside the footage in the spool: JSON that carries its own digest."""

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from vigie.ingest.spool import faults as points
from vigie.platform.faultpoint import FaultPoints
from vigie.platform.folders import sync_folder

FORMAT_VERSION: Final = 1


class SpoolRecordError(Exception):
    """A record that cannot be understood: altered, half written, or of another version."""


@dataclass(frozen=True, slots=True)
class RunRecord:
    """What a run is; written before its first byte of media.

    Attributes:
        camera: camera identifier.
        run: UUIDv7 in hexadecimal digits.
        instance: ingest instance that records it.
        created_us: wall clock when it was opened.
        boot: identifier of the boot of the machine; another one means the power may have gone.
        codec: ``h264`` or ``h265``.
        codec_string: RFC 6381.
        width: pixels.
        height: pixels.
        parameter_sets: hexadecimal, without length prefix.
        key_prefix: what the object keys of this run begin with (prefix and camera).
        sync: when its media is forced to the disk (a `SyncPolicy`).
        key_postfix: what they have behind the date (the run); empty where an older program
            began the run.
    """

    camera: str
    run: str
    instance: str
    created_us: int
    boot: str
    codec: str
    codec_string: str
    width: int
    height: int
    parameter_sets: list[str]
    key_prefix: str
    sync: str = "fragment"
    key_postfix: str = ""


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A closed segment: everything that its object and its event say (units as in the event)."""

    camera: str
    run: str
    number: int
    object_key: str
    start_us: int
    duration_us: int
    media_start_ticks: int
    media_duration_ticks: int
    timescale: int
    sample_count: int
    size_bytes: int
    sha256: str
    header_sha256: str
    codec: str
    width: int
    height: int
    camera_clock_offset_us: int | None
    content_type: str
    metadata: dict[str, str] = field(default_factory=dict)

    @property
    def end_us(self) -> int:
        """First instant after the segment."""
        return self.start_us + self.duration_us


@dataclass(frozen=True, slots=True)
class EndRecord:
    """A run is over.

    Attributes:
        camera: camera identifier.
        run: run identifier.
        end_us: end of its last segment.
        segment_count: how many segments it has.
        reason: name of a ``vigie.ingest.v1.RunEndReason``.
        object_key: key of the span end object.
    """

    camera: str
    run: str
    end_us: int
    segment_count: int
    reason: str
    object_key: str


Record = RunRecord | SegmentRecord | EndRecord
R = TypeVar("R", RunRecord, SegmentRecord, EndRecord)


def encode_record(record: Record) -> bytes:
    """One line of JSON: version, kind, body, digest of the body."""
    body = asdict(record)
    envelope = {
        "version": FORMAT_VERSION,
        "kind": type(record).__name__,
        "body": body,
        "sha256": _digest(body),
    }
    return json.dumps(envelope, sort_keys=True).encode() + b"\n"


def decode_record(content: bytes, kind: type[R]) -> R:
    """The record in ``content``.

    Raises:
        SpoolRecordError: it is not one of this kind and version, or its digest does not match.
    """
    try:
        envelope: Any = json.loads(content)
        version, name, body = envelope["version"], envelope["kind"], envelope["body"]
        digest = envelope["sha256"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise SpoolRecordError("not a record of the spool") from error
    if version != FORMAT_VERSION:
        raise SpoolRecordError(f"a record of version {version}; this program writes 1")
    if name != kind.__name__ or not isinstance(body, dict) or digest != _digest(body):
        raise SpoolRecordError("the record was altered")
    try:
        return kind(**body)
    except TypeError as error:
        raise SpoolRecordError("the record has other fields than it should") from error


def read_record(path: Path, kind: type[R]) -> R | None:
    """The record in a file; ``None`` when there is no such file.

    Raises:
        SpoolRecordError: see `decode_record`.
        OSError: the disk does not give it.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    return decode_record(content, kind)


def write_record(path: Path, record: Record, faults: FaultPoints) -> None:
    """Make a record durable: temporary file, fsync, rename, fsync of the directory.

    Raises:
        OSError: it is not durable (the file may or may not be there).
    """
    temporary = path.with_name(path.name + ".tmp")
    faults.reach(points.RECORD_WRITE)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
    try:
        write_all(descriptor, encode_record(record))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    faults.reach(points.RECORD_RENAME)
    temporary.replace(path)
    faults.reach(points.RECORD_SYNC)
    sync_folder(path.parent)


def write_all(descriptor: int, data: bytes) -> None:
    """Write everything; goes on after a short write (a signal, a nearly full disk).

    Raises:
        OSError: the disk refused; a part may have been written.
    """
    written = os.write(descriptor, data)
    if written == len(data):
        return
    rest = memoryview(data)[written:]
    while rest:
        written = os.write(descriptor, rest)
        if written == 0:
            raise OSError(errno.EIO, "the disk takes no more bytes")
        rest = rest[written:]


def _digest(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
