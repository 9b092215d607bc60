"""Evidence requests as values, and the steps their life may take."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a request stands; the names are those of ``EvidenceState``."""

    REQUESTED = "REQUESTED"
    APPROVED = "APPROVED"
    BUILDING = "BUILDING"
    VERIFYING = "VERIFYING"
    READY = "READY"
    REFUSED = "REFUSED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"


# A restart in the middle of BUILDING or VERIFYING begins the package again: nothing of a half
# package is ever reused.
TRANSITIONS: Final[Mapping[State, frozenset[State]]] = {
    State.REQUESTED: frozenset({State.APPROVED, State.REFUSED, State.CANCELLED}),
    State.APPROVED: frozenset({State.BUILDING, State.CANCELLED, State.FAILED}),
    State.BUILDING: frozenset({State.BUILDING, State.VERIFYING, State.CANCELLED, State.FAILED}),
    State.VERIFYING: frozenset({State.BUILDING, State.READY, State.CANCELLED, State.FAILED}),
    State.READY: frozenset({State.EXPIRED}),
    State.REFUSED: frozenset(),
    State.CANCELLED: frozenset(),
    State.FAILED: frozenset({State.CANCELLED}),
    State.EXPIRED: frozenset(),
}

IN_PROGRESS: Final = (State.APPROVED, State.BUILDING, State.VERIFYING)
"""States in which the builder owes work."""

RELEASES_HOLD: Final = frozenset({State.REFUSED, State.CANCELLED, State.EXPIRED})
"""States that give the footage back to its ordinary retention. Not FAILED: what a procedure asked
for stays until a person withdraws the request."""


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who acted on a request."""

    subject: str
    display_name: str
    agency: str


@dataclass(frozen=True, slots=True)
class PackageInfo:
    """The finished file.

    Attributes:
        object_key: where it lies in the store.
        file_name: name proposed for saving.
        size_bytes: its length.
        sha256: its digest, hexadecimal.
        signer_fingerprint: SHA-256 of the signer's certificate, hexadecimal.
        ready_us: when it was verified, microseconds since the Unix epoch.
        expire_us: when it will be destroyed, microseconds since the Unix epoch.
    """

    object_key: str
    file_name: str
    size_bytes: int
    sha256: str
    signer_fingerprint: str
    ready_us: int
    expire_us: int


@dataclass(frozen=True, slots=True)
class Missing:
    """Footage that was asked for and does not exist; ``cause`` is a GapCause name."""

    camera: str
    cause: str
    duration_us: int


@dataclass(frozen=True, slots=True)
class CustodyStep:
    """One entry of the chain of custody."""

    time_us: int
    actor: str
    display_name: str
    action: str
    detail: str


@dataclass(frozen=True, slots=True)
class EvidenceRequest:
    """One request. Instants are microseconds since the Unix epoch; cameras are identifiers."""

    request: str
    cameras: tuple[str, ...]
    zones: tuple[str, ...]
    start_us: int
    end_us: int
    purpose: str
    case_reference: str
    legal_basis: str
    state: State
    requester: Person
    create_us: int
    update_us: int
    revision: int = 1
    decider: Person | None = None
    decision_us: int = 0
    decision_reason: str = ""
    progress_permille: int = 0
    failure: str = ""
    failure_detail: str = ""
    package: PackageInfo | None = None
    missing: tuple[Missing, ...] = ()

    @property
    def name(self) -> str:
        """Resource name."""
        return f"evidenceRequests/{self.request}"

    @property
    def hold(self) -> str:
        """Identifier of the hold: one request, one hold."""
        return self.request

    @property
    def etag(self) -> str:
        """Changes with every change."""
        return f"{self.revision:x}"
