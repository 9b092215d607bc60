"""The access context as a module: authenticator, people in force, AccessService."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from vigie.access.authenticator import TokenAuthenticator
from vigie.access.directory import Directory
from vigie.access.issuer import KEY_FILE, DevelopmentIssuer, ServiceTokenSource, load_or_create_key
from vigie.access.keys import Issuer, TokenVerifier
from vigie.access.keyset import KeySetFile
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
    file = config.issuer_key_file or data_directory / "access" / KEY_FILE
    key = load_or_create_key(file.parent, file.name)
    return DevelopmentIssuer(
        key, name=DEVELOPMENT_ISSUER, audience=config.audience, wall_clock=wall_clock
    )


class AccessModule:
    """Wires the context; a `vigie.platform.module.Module`.

    Args:
        config: section ``[access]``.
        data_directory: where the embedded issuer keeps its key (below ``access/``).
        tokens: seals page tokens.
        supervisor: runs the task that follows the people file and the keys of the provider.
        wall_clock: decides what has begun or ended.
        monotonic_clock: paces the following of both.
        metrics: see `vigie.access.metrics`.
        offered: whether AccessService is served here; who may do what is asked at every host.
        service_tokens: whether services prove themselves by tokens of the embedded issuer.

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
        offered: bool = True,
        service_tokens: bool = True,
    ) -> None:
        self._offered = offered
        self._config = config
        self._wall_clock = wall_clock
        self._monotonic_clock = monotonic_clock
        self._supervisor = supervisor
        self.directory = Directory(config.people_file, wall_clock=wall_clock, metrics=metrics)
        self.keys = (
            None if config.jwks_file is None else KeySetFile(config.jwks_file, metrics=metrics)
        )
        # There for people, where the configuration accepts it for them, and for services, where
        # these have no certificates. Otherwise there is no key that could make anybody anybody.
        self.issuer = (
            development_issuer(config, data_directory, wall_clock)
            if service_tokens or config.development_issuer
            else None
        )
        self.authenticator = TokenAuthenticator(
            TokenVerifier(
                self._issuers(), audience=config.audience, leeway_seconds=config.leeway_seconds
            ),
            self.directory,
            wall_clock,
            development=config.development_issuer,
            service_tokens=service_tokens,
            keys_revision=lambda: 0 if self.keys is None else self.keys.revision,
        )
        self._servicer = AccessServicer(self.directory, tokens, wall_clock)
        self._follower: asyncio.Task[Any] | None = None

    def _issuers(self) -> list[Issuer]:
        issuers = [] if self.issuer is None else [self.issuer.issuer()]
        if self.keys is not None:
            issuers.append(Issuer(self._config.jwks_issuer, self.keys))
        return issuers

    def token_source(self, service: str) -> TokenSource:
        """The credential with which one context of this process calls others."""
        assert self.issuer is not None, "services prove themselves by certificates here"
        return ServiceTokenSource(self.issuer, service, self._wall_clock)

    def services(self) -> Sequence[ServiceBinding]:
        """AccessService, where it is offered."""
        if not self._offered:
            return ()
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

    def broken(self) -> str | None:
        """See `Breakable.broken`."""
        gone = self._follower is not None and self._follower.done()
        return "the people file is no longer followed" if gone else None

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
            if self.keys is not None:
                await self.keys.refresh()
