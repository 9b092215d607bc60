"""How a process is reached by other services, and how its contexts call theirs."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from vigie.platform.errors import VigieError
from vigie.platform.grpc.client import MutualTls, ServiceClients
from vigie.platform.grpc.credentials import TlsFiles
from vigie.platform.grpc.host import ServicesListener
from vigie.platform.grpc.peers import service_host
from vigie.platform.grpc.settings import GrpcConfig, host_of, is_loopback
from vigie.platform.identity.port import TokenSource
from vigie.platform.reasons import CONFIG_INVALID
from vigie.surroundings import Surroundings

if TYPE_CHECKING:
    import grpc.aio


def services_listener(around: Surroundings) -> ServicesListener:
    """Where the process is reached by other services.

    Raises:
        VigieError: CONFIG_INVALID.
    """
    if not around.target.one_of_many:
        return ServicesListener()
    name = around.target.name
    address = around.services.listening(name)
    if around.certified:
        domain = around.tls.trust_domain
        return ServicesListener(address, around.tls.of(name), domain, service_host(name, domain))
    open_to_others = not is_loopback(host_of(address))
    if open_to_others and not around.config.section(GrpcConfig).allow_plaintext:
        raise VigieError(
            CONFIG_INVALID,
            f"{address} is reached by other machines, and services have no certificates; give "
            "[tls], or listen on 127.0.0.1",
            field="services.listen",
        )
    return ServicesListener(address)


class Callers:
    """Calls to other contexts: where they are, and how a context proves itself there.

    Args:
        around: of the process.
        token_of: name of a service -> its token.
        own_address: where this very process is reached, once it listens.
    """

    def __init__(
        self,
        around: Surroundings,
        token_of: Callable[[str], TokenSource],
        own_address: Callable[[], str],
    ) -> None:
        self._around = around
        self._token_of = token_of
        self._own_address = own_address
        self._clients: list[ServiceClients] = []

    def of(self, service: str) -> ServiceClients:
        """Calls under the name of ``service``."""
        around = self._around
        tls = None
        if around.certified:
            clock = around.clocks.monotonic
            files = TlsFiles(around.tls.of(service), clock, section="tls")
            tls = MutualTls(files, around.tls.trust_domain)
        clients = ServiceClients(
            self._addresses,
            None if tls is not None else self._token_of(service),
            tls=tls,
            default_timeout_seconds=around.services.call_seconds,
            connect_seconds=around.services.connect_seconds,
        )
        self._clients.append(clients)
        return clients

    def _addresses(self, context: str) -> Sequence[str]:
        if not self._around.target.one_of_many:
            return (self._own_address(),)
        return self._around.services.addresses(context)

    async def close(self) -> None:
        """Close every channel."""
        for clients in self._clients:
            await clients.close()


class InstancesOf:
    """Channels to single instances of a context; see `vigie.platform.grpc.carry`."""

    def __init__(self, clients: ServiceClients, context: str) -> None:
        self._clients = clients
        self._context = context

    def channel_to(self, address: str) -> "grpc.aio.Channel":
        """See `InstanceChannels.channel_to`."""
        return self._clients.channel_to(address, self._context)
