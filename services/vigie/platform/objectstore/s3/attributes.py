"""Attributes of an object as headers, and back.

What the port calls metadata becomes ``x-amz-meta-NAME``; S3 gives the names back in lower case. The
digest of the whole content goes beside it, because the store's own checksum of an object stored in
parts is one of the parts. Values that HTTP does not carry as they are (empty, with spaces at an end
or several in a row) are percent-encoded and marked.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final
from urllib.parse import quote, unquote

from minio.time import from_http_header, from_iso8601utc

from vigie.platform.clock import to_us
from vigie.platform.objectstore.port import ObjectInfo

_META: Final = "x-amz-meta-"
DIGEST: Final = "vigie-sha256"
_TYPE: Final = "vigie-content-type"
CHECKSUM: Final = "x-amz-checksum-sha256"
LEGAL_HOLD: Final = "x-amz-object-lock-legal-hold"
RETAIN_UNTIL: Final = "x-amz-object-lock-retain-until-date"
ASK_CHECKSUM: Final[Mapping[str, str]] = {"x-amz-checksum-mode": "ENABLED"}
UNKNOWN_TYPE: Final = "application/octet-stream"
_ENCODED: Final = "%vigie%"
_SECOND_US: Final = 1_000_000


def to_headers(sha256: str, content_type: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """What a put says of its object."""
    headers = {_META + name: _encoded(value) for name, value in metadata.items()}
    return {**headers, _META + DIGEST: sha256, "Content-Type": content_type}


def to_headers_of_copy(
    sha256: str, content_type: str, metadata: Mapping[str, str]
) -> dict[str, str]:
    """What a copy inside the store says of its object.

    A store may give the copy the content type of the original whatever it is told (SeaweedFS).
    """
    return {**to_headers(sha256, content_type, metadata), _META + _TYPE: content_type}


def info_of(key: str, headers: Mapping[str, str], holds: frozenset[str]) -> ObjectInfo:
    """An object from the answer to a HEAD."""
    told = {name.lower(): value for name, value in headers.items()}
    until = told.get(RETAIN_UNTIL)
    return _info(
        key,
        told,
        size_bytes=int(told.get("content-length", "0")),
        stored_at_us=us_of(from_http_header(told["last-modified"])),
        holds=holds,
        retain_until_us=us_of(from_iso8601utc(until)) if until else None,
    )


def info_of_listed(
    key: str, size_bytes: int, stored_at_us: int, headers: Mapping[str, str] | None
) -> ObjectInfo | None:
    """An object from a listing that shows attributes (an extension of MinIO); else ``None``."""
    told = {name.lower(): value for name, value in (headers or {}).items()}
    if "content-type" not in told or _META + DIGEST not in told:
        return None
    until = told.get(RETAIN_UNTIL)
    return _info(
        key,
        told,
        size_bytes=size_bytes,
        stored_at_us=stored_at_us,
        holds=frozenset(),
        retain_until_us=us_of(from_iso8601utc(until)) if until else None,
    )


def foreign_info(key: str, size_bytes: int, stored_at_us: int) -> ObjectInfo:
    """What can be said of an object of which only the listing is known."""
    return ObjectInfo(
        key, size_bytes, "", UNKNOWN_TYPE, {}, stored_at_us, frozenset(), None, foreign=True
    )


def is_held(headers: Mapping[str, str]) -> bool:
    """Whether the store's own legal hold is on."""
    return {name.lower(): value for name, value in headers.items()}.get(LEGAL_HOLD) == "ON"


def us_of(instant: datetime | None) -> int:
    """Microseconds, in whole seconds: listings know fractions that HEAD does not."""
    return 0 if instant is None else to_us(instant) // _SECOND_US * _SECOND_US


def _info(
    key: str,
    told: Mapping[str, str],
    *,
    size_bytes: int,
    stored_at_us: int,
    holds: frozenset[str],
    retain_until_us: int | None,
) -> ObjectInfo:
    metadata = {
        name.removeprefix(_META): _decoded(value)
        for name, value in told.items()
        if name.startswith(_META)
    }
    sha256 = metadata.pop(DIGEST, "")
    content_type = metadata.pop(_TYPE, told.get("content-type", UNKNOWN_TYPE))
    return ObjectInfo(
        key=key,
        size_bytes=size_bytes,
        sha256=sha256,
        content_type=content_type,
        metadata=metadata if sha256 else {},
        stored_at_us=stored_at_us,
        holds=holds,
        retain_until_us=retain_until_us,
        foreign=not sha256,
    )


def _encoded(value: str) -> str:
    if value and value == " ".join(value.split()) and not value.startswith(_ENCODED):
        return value
    return _ENCODED + quote(value, safe="")


def _decoded(value: str) -> str:
    return unquote(value.removeprefix(_ENCODED)) if value.startswith(_ENCODED) else value
