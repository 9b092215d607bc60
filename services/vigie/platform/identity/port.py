"""What the host asks about tokens; the access context answers (later: OpenID Connect too)."""

from dataclasses import dataclass
from typing import Protocol

from vigie.platform.errors import ReasonSpec, VigieError
from vigie.platform.grpc.call import Caller


@dataclass(frozen=True, slots=True)
class Identity:
    """A token that was accepted.

    Attributes:
        caller: whom it stands for, with his rights at this moment.
        expires_at_us: when the token ends, microseconds since the Unix epoch.
        token_id: ``jti`` of the token; empty when it has none.
        signed_by: what the authenticator tells the key by that signed it; ``None`` where a
            certificate stands for it.
    """

    caller: Caller
    expires_at_us: int
    token_id: str = ""
    signed_by: object = None


class IdentityRefusedError(VigieError):
    """A token is authentic, but whom it stands for may not act now.

    Attributes:
        claimed: whom the token stands for, without rights: the refusal is recorded under his name.
    """

    def __init__(self, reason: ReasonSpec, message: str, claimed: Caller) -> None:
        super().__init__(reason, message)
        self.claimed = claimed


class Authenticator(Protocol):
    """Turns tokens into callers; deny by default."""

    @property
    def revision(self) -> int:
        """Changes whenever somebody's rights may have changed."""
        ...

    async def authenticate(self, token: str) -> Identity:
        """Verify a token and look up the rights of its subject.

        Raises:
            VigieError: TOKEN_INVALID.
            IdentityRefusedError: TOKEN_EXPIRED, PERSON_UNKNOWN, PERSON_SUSPENDED,
                PERSON_NOT_DESIGNATED.
        """
        ...

    async def authenticate_service(self, service: str) -> Identity:
        """The identity of a service of the product that its certificate names."""
        ...

    async def revalidate(self, identity: Identity) -> Identity:
        """The same identity with today's rights; used for streams that are open.

        Raises:
            VigieError: as `authenticate`.
        """
        ...


class TokenSource(Protocol):
    """Gives the credential of this process for calls to other services."""

    async def token(self) -> str:
        """A bearer token that is valid for at least a minute from now."""
        ...
