"""The access context as a module: authenticator, people in force, AccessService."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from vigie.access.authenticator import TokenAuthenticator
from vigie.access.directory import Directory
from vigie.access.issuer import DevelopmentIssuer, ServiceTokenSource, load_or_create_key
from vigie.access.keys import Issuer, TokenVerifier, read_jwks
from vigie.access.service import AccessServicer
from vigie.access.settings import DEVELOPMENT_ISSUER, AccessConfig
from vigie.access.v1.access_service_pb2_grpc import add_AccessServiceServicer_to_server
from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.identity.port import TokenSource
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import ServiceBinding
from vigie.platform.paging import Tokens
from vigie.platform.supervisor import Supervisor

ACCESS_SERVICE: Final = "vigie.access.v1.AccessService"


def development_issuer(
    config: AccessConfig, data_directory: Path, wall_clock: WallClock
) -> DevelopmentIssuer:
    """The embedded issuer of a data directory; also for ``vigie token create``.

    Raises:
        VigieError: CONFIG_INVALID (the key file).
    """
    key = load_or_create_key(data_directory / "access")
    return DevelopmentIssuer(
        key, name=DEVELOPMENT_ISSUER, audience=config.audience, wall_clock=wall_clock
    )


class AccessModule:
    """Wires the context; a `vigie.platform.module.Module`.

    Args:
        config: section ``[access]``.
        data_directory: where the embedded issuer keeps its key (below ``access/``).
        tokens: seals page tokens.
        supervisor: runs the task that follows the people file.
        wall_clock: decides what has begun or ended.
        monotonic_clock: paces the following of the people file.
        metrics: see `vigie.access.metrics`.

    Raises:
        VigieError: CONFIG_INVALID: keys or people cannot be read.
    """

    name = "access"

    def __init__(
        self,
        config: AccessConfig,
        *,
        data_directory: Path,
        wall_clock: WallClock,
        monotonic_clock: MonotonicClock,
        metrics: MetricsRegistry,
        tokens: Tokens,
        supervisor: Supervisor,
    ) -> None:
        self._config = config
        self._wall_clock = wall_clock
        self._monotonic_clock = monotonic_clock
        self._supervisor = supervisor
        self.directory = Directory(config.people_file, wall_clock=wall_clock, metrics=metrics)
        # Always there: the services of one process call each other with its tokens. When the
        # configuration does not accept it for people, no token for a person is ever signed.
        self.issuer = development_issuer(config, data_directory, wall_clock)
        self.authenticator = TokenAuthenticator(
            TokenVerifier(
                self._issuers(), audience=config.audience, leeway_seconds=config.leeway_seconds
            ),
            self.directory,
            wall_clock,
            development=config.development_issuer,
        )
        self._servicer = AccessServicer(self.directory, tokens, wall_clock)
        self._follower: asyncio.Task[Any] | None = None

    def _issuers(self) -> list[Issuer]:
        issuers = [self.issuer.issuer()]
        if self._config.jwks_file is not None:
            keys = read_jwks(self._config.jwks_file)
            issuers.append(Issuer(self._config.jwks_issuer, keys))
        return issuers

    def token_source(self, service: str) -> TokenSource:
        """The credential with which one context of this process calls others."""
        return ServiceTokenSource(self.issuer, service, self._wall_clock)

    def services(self) -> Sequence[ServiceBinding]:
        """AccessService."""
        return (
            ServiceBinding(ACCESS_SERVICE, self._servicer, add_AccessServiceServicer_to_server),
        )

    async def start(self) -> None:
        """Read the people file and follow it.

        Raises:
            VigieError: CONFIG_INVALID: the file is missing or broken.
        """
        self.directory.load()
        self._follower = self._supervisor.spawn("access-people", self._follow())

    def not_ready(self) -> str | None:
        """See `Module.not_ready`."""
        if self._follower is None:
            return "the people file is not read yet"
        return "the people file is no longer followed" if self._follower.done() else None

    async def stop(self, *, timeout_seconds: float) -> None:
        """Stop following the file."""
        del timeout_seconds
        if self._follower is not None:
            self._follower.cancel()
            await asyncio.gather(self._follower, return_exceptions=True)
            self._follower = None

    async def _follow(self) -> None:
        while True:
            await self._monotonic_clock.sleep(self._config.reload_seconds)
            await self.directory.refresh()
