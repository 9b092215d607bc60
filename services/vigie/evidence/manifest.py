"""The manifest of an evidence package: what is in it, where it comes from, what is missing.

Versioned: a reader refuses a version it does not know. The JSON schema generated from these models
is part of the reference (docs/reference/evidence-manifest.schema.json). Instants are RFC 3339 in
UTC with microseconds; lengths are bytes; durations are microseconds; digests are SHA-256 in
lower-case hexadecimal.
"""

import json
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic.functional_validators import AfterValidator

from vigie.evidence.rejection import RejectedError

SCHEMA: Final = "vigie-evidence-manifest"
VERSIONS: Final = (1, 2)
"""Those that are read. A package bears the lowest that can say what it says: 2 where a camera stood
in several zones, so that a reader of version 1 refuses just what it does not understand."""

MANIFEST_NAME: Final = "manifest.json"
SIGNATURE_NAME: Final = "manifest.json.p7s"
CERTIFICATE_NAME: Final = "certificate.pem"


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise ValueError("an instant needs a time zone")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("an instant outside the calendar") from error


def format_instant(value: datetime) -> str:
    """RFC 3339, UTC, always with microseconds: one spelling for one instant."""
    # Not strftime: the C library writes years before 1000 without their zeros.
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


Instant = Annotated[
    datetime, AfterValidator(_utc), PlainSerializer(format_instant, return_type=str)
]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(max_length=300)]
Text = Annotated[str, Field(max_length=4000)]
Count = Annotated[int, Field(ge=0)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Window(_Part):
    """A half-open window of time."""

    start: Instant
    end: Instant


class Person(_Part):
    """Somebody as the access log knows them."""

    subject: Name
    display_name: Name
    agency: Name


class Request(_Part):
    """What was asked for, and who let it go."""

    name: Name
    cameras: tuple[Name, ...]
    window: Window
    purpose: Text
    case_reference: Name
    legal_basis: Text
    requested_time: Instant
    requester: Person
    approved_time: Instant
    approver: Person
    approval_reason: Text


class Issuer(_Part):
    """What made the package."""

    product: Name
    version: Name
    installation: Name
    signer_fingerprint: Sha256


class Interval(_Part):
    """A piece of the window: footage, or a gap with its cause."""

    start: Instant
    end: Instant
    state: Literal["STORED", "MISSING"]
    cause: Annotated[str, Field(max_length=40)] = ""
    detail: Text = ""


class Camera(_Part):
    """The completeness statement of one camera: its intervals are the window, without rest."""

    camera: Name
    display_name: Name
    zone: Name
    """Where it stood; in version 2, at the end of the window."""
    zones: tuple[Name, ...] = ()
    """Version 2: where it stood during the window, in order of time, if in more than one zone."""
    requested_us: Count
    stored_us: Count
    missing_us: Count
    intervals: tuple[Interval, ...]


class SourceSegment(_Part):
    """A segment as received, of which the file holds fragments unaltered."""

    object_key: Annotated[str, Field(max_length=1024)]
    number: Count
    start: Instant
    end: Instant
    size_bytes: Count
    sha256: Sha256
    fragments: Count
    samples: Count
    samples_sha256: Sha256
    camera_clock_offset_us: int | None


class Media(_Part):
    """What a media file holds: samples of one run of one camera."""

    camera: Name
    run: Name
    codec: Name
    width: Count
    height: Count
    start: Instant
    end: Instant
    segments: Annotated[tuple[SourceSegment, ...], Field(min_length=1)]


class File(_Part):
    """A file of the package."""

    path: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$")
    ]
    size_bytes: Count
    sha256: Sha256
    media: Media | None = None


class Custody(_Part):
    """A step of the chain of custody."""

    time: Instant
    actor: Name
    display_name: Name
    action: Name
    detail: Text


class Weakness(_Part):
    """Something an expert for the defence should know, in both languages."""

    code: Name
    en: Text
    fr: Text


class Manifest(_Part):
    """Everything a verifier needs; the signature covers its exact bytes."""

    schema_name: Literal["vigie-evidence-manifest"] = Field(alias="schema")
    version: Literal[1, 2]
    created_time: Instant
    request: Request
    issuer: Issuer
    cameras: tuple[Camera, ...]
    files: tuple[File, ...]
    custody: tuple[Custody, ...]
    weaknesses: tuple[Weakness, ...]

    @model_validator(mode="after")
    def _zones_fit_the_version(self) -> Self:
        moved = [camera for camera in self.cameras if camera.zones]
        if bool(moved) != (self.version > 1):
            raise ValueError("zones are listed in version 2, and only there")
        if any(len(each.zones) == 1 or each.zones[-1] != each.zone for each in moved):
            raise ValueError("the zones of a camera do not end with its zone")
        return self

    def to_bytes(self) -> bytes:
        """The JSON that is signed: keys in the order of this model, two spaces, final newline."""
        content: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        for camera in content["cameras"]:
            if not camera["zones"]:
                del camera["zones"]  # version 1 has no such key
        text = json.dumps(content, ensure_ascii=False, indent=2)
        return text.encode() + b"\n"


def parse_manifest(content: bytes) -> Manifest:
    """Read a manifest strictly.

    Raises:
        RejectedError: MANIFEST_INVALID or MANIFEST_VERSION.
    """
    try:
        head = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RejectedError("MANIFEST_INVALID", f"{MANIFEST_NAME}: {error}") from error
    if not isinstance(head, dict) or head.get("schema") != SCHEMA:
        raise RejectedError("MANIFEST_INVALID", f"{MANIFEST_NAME} is not a {SCHEMA}")
    if head.get("version") not in VERSIONS:
        raise RejectedError("MANIFEST_VERSION", f"version {head.get('version')!r}")
    try:
        return Manifest.model_validate(head)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RejectedError("MANIFEST_INVALID", f"{where}: {first['msg']}") from error
