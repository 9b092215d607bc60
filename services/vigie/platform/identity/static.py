"""An authenticator over a table in memory: for tests and for tools without a directory."""

from collections.abc import Mapping
from dataclasses import replace

from vigie.platform.clock import WallClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import Caller
from vigie.platform.grpc.peers import SERVICE_SUBJECT
from vigie.platform.identity.port import Identity, IdentityRefusedError
from vigie.platform.reasons import PERSON_SUSPENDED, TOKEN_EXPIRED, TOKEN_INVALID

_FOR_EVER_US = 1 << 62


class StaticAuthenticator:
    """Accepts exactly the tokens it was given.

    Args:
        callers: token -> whom it stands for.
        wall_clock: tells when a token has ended.
    """

    def __init__(self, callers: Mapping[str, Caller], wall_clock: WallClock) -> None:
        self._wall_clock = wall_clock
        self._identities = {
            token: Identity(caller, _FOR_EVER_US, token_id=token)
            for token, caller in callers.items()
        }
        self._suspended: set[str] = set()
        self.revision = 0

    def set_expiry(self, token: str, expires_at_us: int) -> None:
        """Let a token end at an instant."""
        self._identities[token] = replace(self._identities[token], expires_at_us=expires_at_us)
        self.revision += 1

    def set_caller(self, token: str, caller: Caller) -> None:
        """Change the rights behind a token."""
        self._identities[token] = replace(self._identities[token], caller=caller)
        self.revision += 1

    def suspend(self, subject: str) -> None:
        """Refuse a person from now on."""
        self._suspended.add(subject)
        self.revision += 1

    async def authenticate(self, token: str) -> Identity:
        """See `Authenticator.authenticate`."""
        identity = self._identities.get(token)
        if identity is None:
            raise VigieError(TOKEN_INVALID, "the token is not known")
        if identity.caller.subject in self._suspended:
            raise IdentityRefusedError(
                PERSON_SUSPENDED, "the person is suspended", _without_rights(identity.caller)
            )
        if identity.expires_at_us <= self._wall_clock.now_us():
            raise IdentityRefusedError(
                TOKEN_EXPIRED, "the token has ended", _without_rights(identity.caller)
            )
        return identity

    async def authenticate_service(self, service: str) -> Identity:
        """See `Authenticator.authenticate_service`: a table entry named ``service:<name>``."""
        return await self.authenticate(f"{SERVICE_SUBJECT}{service}")

    async def revalidate(self, identity: Identity) -> Identity:
        """See `Authenticator.revalidate`."""
        return await self.authenticate(identity.token_id)


def _without_rights(caller: Caller) -> Caller:
    return replace(caller, grants={})
