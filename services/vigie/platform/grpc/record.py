"""The port through which the host puts accesses on record (the audit context implements it)."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Phase(Enum):
    """Which moment of an access an entry describes."""

    OPENED = "opened"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class AccessEntry:
    """One access, allowed or refused; field for field `vigie.audit.v1.AccessRecord`.

    Attributes:
        record: identifier of the entry, UUIDv7 with hyphens.
        request_id: identifier of the request; equal in opening and closing entries.
        phase: opened (before the first byte) or closed (what was delivered).
        time_us: when the product decided, microseconds since the Unix epoch.
        subject: who; ``anonymous`` when there was no valid token.
        method: full path of the method.
        kind: ``vigie.common.v1.RecordKind``.
        permission: permission that was asked for.
        objects: resource names, sorted.
        zones: zone identifiers, sorted.
        window_us: window of footage, half open, or ``None``.
        allowed: the decision.
        reason: stable reason of a refusal or failure; empty when allowed.
        end_status: closing entries: gRPC status code name the call ended with.
        delivered_bytes: closing entries: bytes of footage or of messages that were sent.
        delivered_messages: closing entries: messages that were sent.
        delivered_until_us: closing entries: end of the footage delivered, or 0.
        suppressed_attempts: attempts of this peer counted instead of recorded.
    """

    record: str
    request_id: str
    phase: Phase
    time_us: int
    subject: str
    method: str
    kind: int
    permission: str
    allowed: bool
    display_name: str = ""
    agency: str = ""
    roles: tuple[str, ...] = ()
    peer: str = ""
    objects: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    window_us: tuple[int, int] | None = None
    purpose: str = ""
    case_reference: str = ""
    reason: str = ""
    delivered_bytes: int = 0
    delivered_messages: int = 0
    end_status: str = ""
    delivered_until_us: int = 0
    suppressed_attempts: int = 0


class AccessRecorder(Protocol):
    """Keeps accesses."""

    async def record(self, entry: AccessEntry) -> None:
        """Make ``entry`` durable before returning.

        Raises:
            Exception: anything: the host refuses the access then.
        """
        ...


class MemoryAccessRecorder:
    """Keeps entries in a list: for tests. It can be told to fail.

    Attributes:
        entries: what was recorded, in order.
        failing: while set, `record` raises it.
    """

    def __init__(self) -> None:
        self.entries: list[AccessEntry] = []
        self.failing: Exception | None = None

    async def record(self, entry: AccessEntry) -> None:
        """See `AccessRecorder.record`."""
        if self.failing is not None:
            raise self.failing
        self.entries.append(entry)
