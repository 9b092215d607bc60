"""One call as the host keeps it: who, what was admitted, what was delivered."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import ANONYMOUS, EVERYWHERE, NOWHERE, Caller, ZoneSet
from vigie.platform.grpc.journal import AccessJournal
from vigie.platform.grpc.methods import AUTHENTICATED, PUBLIC, MethodSpec
from vigie.platform.grpc.record import AccessEntry, Phase
from vigie.platform.identity.port import Identity
from vigie.platform.reasons import NOT_ADMITTED, PERMISSION_DENIED


@dataclass(frozen=True, slots=True)
class Admission:
    """What a call was admitted to."""

    permission: str
    objects: tuple[str, ...] = ()
    zones: tuple[str, ...] | None = ()
    window_us: tuple[int, int] | None = None
    purpose: str = ""
    case_reference: str = ""


@dataclass(slots=True)
class _Delivered:
    size_bytes: int = 0
    messages: int = 0
    until_us: int = 0


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a call comes from.

    Attributes:
        peer: address and port, e.g. ``ipv4:192.0.2.1:50122``.
        request_id: identifier of the request.
        accept_language: metadata of that name.
    """

    peer: str
    request_id: str
    accept_language: str = ""

    @property
    def peer_host(self) -> str:
        """The address without the port."""
        if self.peer.startswith(("ipv4:", "ipv6:")):
            return self.peer.rpartition(":")[0]
        return self.peer


def zones_of(caller: Caller, permission: str) -> ZoneSet:
    """Where ``caller`` holds ``permission``, the two special permissions included."""
    if permission == PUBLIC:
        return EVERYWHERE
    if permission == AUTHENTICATED:
        return NOWHERE if caller is ANONYMOUS else EVERYWHERE
    return caller.zones(permission)


def holds(caller: Caller, admission: Admission) -> bool:
    """Whether the caller's rights cover an admission now."""
    allowed = zones_of(caller, admission.permission)
    if admission.zones is None:
        return allowed.everywhere
    if not admission.zones:
        return bool(allowed)
    return all(zone in allowed for zone in admission.zones)


@dataclass(slots=True)
class HostCall:
    """Implements `vigie.platform.grpc.call.Call` for one RPC."""

    spec: MethodSpec
    origin: Origin
    journal: AccessJournal
    identity: Identity | None = None
    claimed: Caller | None = None
    stated: Admission | None = None
    """What the request said it is about; for the record of a refusal before admission."""
    admissions: list[Admission] = field(default_factory=list)
    refusal_recorded: bool = False
    _sent: _Delivered = field(default_factory=_Delivered)
    _told: _Delivered | None = None

    @property
    def caller(self) -> Caller:
        """Who calls, with the rights of this moment."""
        return ANONYMOUS if self.identity is None else self.identity.caller

    @property
    def request_id(self) -> str:
        """Identifier of this request."""
        return self.origin.request_id

    @property
    def permission(self) -> str:
        """The permission the method declares."""
        return self.spec.permission

    @property
    def token_expires_at_us(self) -> int | None:
        """See `Call.token_expires_at_us`."""
        return None if self.identity is None else self.identity.expires_at_us

    def zones_allowed(self) -> ZoneSet:
        """See `Call.zones_allowed`."""
        return zones_of(self.caller, self.spec.permission)

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
        """See `Call.admit`."""
        admission = Admission(
            permission=permission or self.spec.permission,
            objects=tuple(sorted(set(objects))),
            zones=None if zones is None else tuple(sorted(set(zones))),
            window_us=window_us,
            purpose=purpose,
            case_reference=case_reference,
        )
        if not holds(self.caller, admission):
            refusal = self.opening(admission, reason=PERMISSION_DENIED.name)
            await self.journal.write_refusal(refusal)
            self.refusal_recorded = True
            # The same words whether the object does not exist or stands in another zone.
            raise VigieError(
                PERMISSION_DENIED,
                f"the permission {admission.permission} is missing for what was asked",
                permission=admission.permission,
            )
        await self.journal.write(self.opening(admission, reason=""))
        self.admissions.append(admission)

    def delivered(
        self, *, size_bytes: int = 0, messages: int = 1, until_us: int | None = None
    ) -> None:
        """See `Call.delivered`."""
        told = self._told = self._told or _Delivered()
        told.size_bytes += size_bytes
        told.messages += messages
        told.until_us = max(told.until_us, until_us or 0)

    def sent(self, size_bytes: int) -> None:
        """Account for a message that left; what the servicer tells goes before."""
        self._sent.size_bytes += size_bytes
        self._sent.messages += 1

    @property
    def messages_sent(self) -> int:
        """Messages that left."""
        return self._sent.messages

    def require_admitted(self) -> None:
        """Raise NOT_ADMITTED when an answer of a recorded method was not admitted."""
        if self.spec.recorded and not self.admissions:
            raise VigieError(
                NOT_ADMITTED, "the method answered without an access record", method=self.spec.path
            )

    def opening(
        self, admission: Admission, *, reason: str, suppressed_attempts: int = 0
    ) -> AccessEntry:
        """The entry that opens (``reason`` empty) or refuses an access."""
        return self._entry(
            Phase.OPENED, admission, reason=reason, suppressed_attempts=suppressed_attempts
        )

    def refusal(self, reason: str, *, suppressed_attempts: int = 0) -> AccessEntry:
        """The entry of an attempt that failed before it was admitted."""
        admission = self.stated or Admission(self.spec.permission)
        return self.opening(admission, reason=reason, suppressed_attempts=suppressed_attempts)

    def closing(self, *, end_status: str, reason: str) -> AccessEntry:
        """The entry that closes an admitted access: what was really delivered."""
        told = self._told or self._sent
        objects = sorted({name for item in self.admissions for name in item.objects})
        zones = sorted({zone for item in self.admissions for zone in item.zones or ()})
        last = self.admissions[-1]
        merged = Admission(
            last.permission,
            tuple(objects),
            tuple(zones),
            last.window_us,
            last.purpose,
            last.case_reference,
        )
        return self._entry(
            Phase.CLOSED, merged, reason=reason, end_status=end_status, delivered=told
        )

    def _entry(
        self,
        phase: Phase,
        admission: Admission,
        *,
        reason: str,
        end_status: str = "",
        delivered: _Delivered | None = None,
        suppressed_attempts: int = 0,
    ) -> AccessEntry:
        delivered = delivered or _Delivered()
        caller = self.claimed or self.caller
        return AccessEntry(
            record=self.journal.new_identifier(),
            request_id=self.request_id,
            phase=phase,
            time_us=self.journal.now_us(),
            subject=caller.subject,
            display_name=caller.display_name,
            agency=caller.agency,
            roles=caller.roles,
            peer=self.origin.peer,
            method=self.spec.path,
            kind=self.spec.kind,
            permission=admission.permission,
            objects=admission.objects,
            zones=admission.zones or (),
            window_us=admission.window_us,
            purpose=admission.purpose,
            case_reference=admission.case_reference,
            allowed=phase is Phase.CLOSED or not reason,
            reason=reason,
            delivered_bytes=delivered.size_bytes,
            delivered_messages=delivered.messages,
            delivered_until_us=delivered.until_us,
            end_status=end_status,
            suppressed_attempts=suppressed_attempts,
        )
