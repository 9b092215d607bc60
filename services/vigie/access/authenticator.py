"""Implements the identity port: JWT plus the people in force."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from vigie.access.directory import Directory
from vigie.access.keys import TokenVerifier
from vigie.access.people import PersonState
from vigie.access.permissions import SERVICE_PERMISSIONS, SERVICE_ROLE
from vigie.platform.clock import WallClock
from vigie.platform.errors import ReasonSpec, VigieError
from vigie.platform.grpc.call import EVERYWHERE, Caller
from vigie.platform.grpc.peers import SERVICE_SUBJECT
from vigie.platform.identity.port import Identity, IdentityRefusedError
from vigie.platform.reasons import (
    PERSON_NOT_DESIGNATED,
    PERSON_SUSPENDED,
    PERSON_UNKNOWN,
    TOKEN_EXPIRED,
    TOKEN_INVALID,
)

_NEVER_US: Final = 1 << 62
"""A connection lives no longer than its certificate was good at its handshake; what it may do is
asked at every call."""
_PHRASES: Final = {PersonState.NOT_YET: "not begun yet", PersonState.ENDED: "ended"}


class TokenAuthenticator:
    """See `vigie.platform.identity.Authenticator`.

    Args:
        verifier: of tokens.
        directory: of people.
        wall_clock: decides whether a token has ended.
        development: whether the embedded issuer may speak for people.
        service_tokens: whether it may speak for services; not where these have certificates.
        keys_revision: changes with the keys that the verifier trusts.
    """

    def __init__(
        self,
        verifier: TokenVerifier,
        directory: Directory,
        wall_clock: WallClock,
        *,
        development: bool = True,
        service_tokens: bool = True,
        keys_revision: Callable[[], int] = lambda: 0,
    ) -> None:
        self._keys_revision = keys_revision
        self._development = development
        self._service_tokens = service_tokens
        self._verifier = verifier
        self._directory = directory
        self._wall_clock = wall_clock

    @property
    def revision(self) -> int:
        """See `Authenticator.revision`."""
        return self._directory.revision + self._keys_revision()

    async def authenticate(self, token: str) -> Identity:
        """See `Authenticator.authenticate`."""
        verified = self._verifier.verify(token, now_us=self._wall_clock.now_us())
        if verified.internal and not verified.service and not self._development:
            raise VigieError(TOKEN_INVALID, "the embedded issuer is not accepted for people here")
        if verified.service and not self._service_tokens:
            raise VigieError(TOKEN_INVALID, "services show certificates here, not tokens")
        if verified.expires_at_us <= self._wall_clock.now_us():
            raise self._refused(TOKEN_EXPIRED, "the token has ended", verified.subject)
        if verified.service:
            caller = _service(verified.subject)
        else:
            caller = self._person(verified.subject, verified.token_id)
        return Identity(caller, verified.expires_at_us, verified.token_id, verified.signed_by)

    async def authenticate_service(self, service: str) -> Identity:
        """See `Authenticator.authenticate_service`; its certificate was verified by the host."""
        return Identity(_service(f"{SERVICE_SUBJECT}{service}"), _NEVER_US)

    async def revalidate(self, identity: Identity) -> Identity:
        """See `Authenticator.revalidate`."""
        if identity.expires_at_us <= self._wall_clock.now_us():
            subject = identity.caller.subject
            raise self._refused(TOKEN_EXPIRED, "the token has ended", subject)
        if identity.signed_by is not None and not self._verifier.trusts(identity.signed_by):
            raise VigieError(TOKEN_INVALID, "the key that signed the token is no longer trusted")
        if identity.caller.service:
            return identity
        return replace(identity, caller=self._person(identity.caller.subject, identity.token_id))

    def _person(self, subject: str, token_id: str) -> Caller:
        people = self._directory.people
        if token_id and token_id in people.revoked_tokens:
            raise VigieError(TOKEN_INVALID, "the token was revoked")
        state = self._directory.state(subject)
        if state is None:
            raise self._refused(PERSON_UNKNOWN, "the subject is not designated", subject)
        if state is PersonState.SUSPENDED:
            raise self._refused(PERSON_SUSPENDED, "the person is suspended", subject)
        if state is not PersonState.ACTIVE:
            message = f"the person's designation has {_PHRASES[state]}"
            raise self._refused(PERSON_NOT_DESIGNATED, message, subject)
        return people.caller(subject)

    def _refused(self, reason: ReasonSpec, message: str, subject: str) -> IdentityRefusedError:
        person = self._directory.people.people.get(subject)
        claimed = Caller(subject)
        if person is not None:
            claimed = Caller(subject, display_name=person.name, agency=person.agency)
        return IdentityRefusedError(reason, message, claimed)


def _service(subject: str) -> Caller:
    return Caller(
        subject=subject,
        display_name=subject,
        roles=(SERVICE_ROLE,),
        grants=dict.fromkeys(SERVICE_PERMISSIONS, EVERYWHERE),
        service=True,
    )
