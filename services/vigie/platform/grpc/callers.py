"""Who makes a call, and from where: by bearer token, or by the certificate of a service."""

from typing import Any

from vigie.platform.errors import VigieError
from vigie.platform.grpc.hops import HOP_KEY, MAX_PEER_CHARACTERS, OURS, PEER_KEY
from vigie.platform.grpc.peers import GATEWAY, service_of
from vigie.platform.identity.port import Authenticator, Identity
from vigie.platform.reasons import UNAUTHENTICATED as TOKEN_MISSING


class Callers:
    """Finds out who calls one server.

    Args:
        authenticator: turns tokens into callers.
        trust_domain: given where every connection shows a certificate of the services' authority.
    """

    def __init__(self, authenticator: Authenticator, trust_domain: str | None = None) -> None:
        self._authenticator = authenticator
        self._trust_domain = trust_domain

    async def peer_of(self, context: Any) -> str:
        """Where a call comes from: as its carrier tells, if a service of ours carried it.

        Raises:
            VigieError: of `Authenticator.authenticate`, for a token that proves no carrier.
        """
        metadata = dict(context.invocation_metadata() or ())
        carrier = self._service_of(context) is not None
        if not carrier and HOP_KEY in metadata:
            identity = await self._authenticator.authenticate(str(metadata[HOP_KEY]))
            carrier = identity.caller.service
        peer = str(metadata.get(PEER_KEY, ""))[:MAX_PEER_CHARACTERS]
        return peer if carrier and peer else str(context.peer())

    async def identify(self, context: Any) -> Identity:
        """Who calls.

        Raises:
            VigieError: UNAUTHENTICATED, and those of `Authenticator.authenticate`.
        """
        metadata = tuple(context.invocation_metadata() or ())
        values = [value for key, value in metadata if key == "authorization"]
        if not values:
            service = self._service_of(context)
            # A certificate speaks for a call of the service's own, not for one that it carries.
            carried = not OURS.isdisjoint(key for key, _ in metadata)
            if service is None or service == GATEWAY or carried:
                raise VigieError(TOKEN_MISSING, "the call carries no token")
            return await self._authenticator.authenticate_service(service)
        scheme, _, token = str(values[0]).partition(" ")
        if len(values) > 1 or scheme.lower() != "bearer" or not token.strip():
            raise VigieError(TOKEN_MISSING, "authorization must be one `Bearer TOKEN`")
        return await self._authenticator.authenticate(token.strip())

    def _service_of(self, context: Any) -> str | None:
        """The service whose certificate the connection shows."""
        if self._trust_domain is None:
            return None
        return service_of(context.auth_context(), self._trust_domain)
