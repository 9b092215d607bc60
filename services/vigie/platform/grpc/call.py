"""What a servicer knows of the call it serves, and how it is admitted.

The host binds a `Call` to the context of every RPC. A servicer awaits `Call.admit` before its
first answer: that checks the permission in every zone concerned, makes the access record durable,
and only then lets footage or facts leave (invariant I5).
"""

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, Protocol


@dataclass(frozen=True, slots=True)
class ZoneSet:
    """Zones a permission is held in: named ones, or every zone.

    Attributes:
        everywhere: true when the permission is not bound to zones.
        names: zone identifiers when it is.
    """

    everywhere: bool = False
    names: frozenset[str] = frozenset()

    def __contains__(self, zone: object) -> bool:
        return self.everywhere or zone in self.names

    def __bool__(self) -> bool:
        return self.everywhere or bool(self.names)


EVERYWHERE: Final = ZoneSet(everywhere=True)
NOWHERE: Final = ZoneSet()


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        subject: stable identifier of the person or service (``sub`` of the token).
        display_name: name for people.
        agency: identifier of the public body the person belongs to.
        roles: role names.
        grants: permission -> zones it is held in.
        service: true for a service of the product itself.
    """

    subject: str
    display_name: str = ""
    agency: str = ""
    roles: tuple[str, ...] = ()
    grants: Mapping[str, ZoneSet] = field(default_factory=dict)
    service: bool = False

    def zones(self, permission: str) -> ZoneSet:
        """The zones in which ``permission`` is held (deny by default)."""
        return self.grants.get(permission, NOWHERE)


ANONYMOUS: Final = Caller(subject="anonymous")


class Call(Protocol):
    """The call being served."""

    @property
    def caller(self) -> Caller:
        """Who calls."""
        ...

    @property
    def request_id(self) -> str:
        """Identifier of this request, in logs and access records."""
        ...

    @property
    def permission(self) -> str:
        """The permission the method declares."""
        ...

    @property
    def token_expires_at_us(self) -> int | None:
        """When the token ends, microseconds since the Unix epoch; ``None`` without a token."""
        ...

    def zones_allowed(self) -> ZoneSet:
        """Zones in which the caller holds the method's permission, for filtering lists."""
        ...

    async def admit(
        self,
        *,
        objects: Sequence[str] = (),
        zones: Sequence[str] | None = (),
        window_us: tuple[int, int] | None = None,
        purpose: str = "",
        case_reference: str = "",
        permission: str | None = None,
    ) -> None:
        """Check the permission in all ``zones`` and make the access record durable.

        Args:
            objects: resource names of what is accessed.
            zones: identifiers of the zones these stand in; ``None`` when an object does not
                exist: then only a caller who holds the permission everywhere is admitted (and may
                be told NOT_FOUND); empty: holding the permission anywhere is enough.
            window_us: window of footage, half open, microseconds since the Unix epoch.
            purpose: why, as the person states it.
            case_reference: procedure or incident.
            permission: another permission than the declared one (for methods whose permission
                depends on the request).

        Raises:
            VigieError: PERMISSION_DENIED (the refusal is on record), ACCESS_NOT_RECORDED.
        """
        ...

    def delivered(
        self, *, size_bytes: int = 0, messages: int = 1, until_us: int | None = None
    ) -> None:
        """Account for what a stream is about to send; the closing record tells it.

        Said before the message leaves: the record may then say one too much, when the caller has
        gone meanwhile, and never one too few.
        """
        ...


_CURRENT: ContextVar[Call] = ContextVar("vigie_call")


def current_call() -> Call:
    """The call being served by this task.

    Raises:
        LookupError: outside an RPC.
    """
    return _CURRENT.get()


def bind_call(call: Call) -> None:
    """Make ``call`` the current one (the host does this; tests may)."""
    _CURRENT.set(call)
