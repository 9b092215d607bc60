"""The target ``gateway``, wired."""

from vigie.access.issuer import ServiceTokenSource
from vigie.access.module import development_issuer
from vigie.access.settings import AccessConfig
from vigie.contracts import methods_of
from vigie.platform.config import Config
from vigie.platform.errors import VigieError
from vigie.platform.grpc.carry import Carrier
from vigie.platform.grpc.client import MutualTls, ServiceClients
from vigie.platform.grpc.credentials import TlsFiles
from vigie.platform.grpc.gateway import Gateway
from vigie.platform.grpc.services import CONTEXTS, ServicesConfig, ServiceTlsConfig
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.reasons import CONFIG_INVALID
from vigie.settings import DataConfig
from vigie.storage import Clocks
from vigie.targets import GATEWAY


def make_gateway(config: Config, clocks: Clocks) -> Gateway:
    """The gateway of a configuration.

    Raises:
        VigieError: CONFIG_INVALID: nobody said where the services are.
    """
    services = config.section(ServicesConfig)
    tls = config.section(ServiceTlsConfig)
    if not any(services.addresses(context) for context in CONTEXTS):
        raise VigieError(
            CONFIG_INVALID, "[services] names no address: nobody can be reached", field="services"
        )
    mutual = hop = None
    if tls.enabled:
        files = TlsFiles(tls.of(GATEWAY), clocks.monotonic, section="tls")
        mutual = MutualTls(files, tls.trust_domain)
    else:
        data = config.section(DataConfig).directory
        issuer = development_issuer(config.section(AccessConfig), data, clocks.wall)
        hop = ServiceTokenSource(issuer, GATEWAY, clocks.wall)
    # Calls carry the tokens of those who make them, and their deadlines; the gateway's own are
    # looks at the health of services.
    clients = ServiceClients(
        services.addresses, None, tls=mutual, connect_seconds=services.connect_seconds
    )
    return Gateway(
        config.section(GrpcConfig),
        methods=methods_of(),
        clients=clients,
        carrier=Carrier(GATEWAY, hop=hop),
        monotonic_clock=clocks.monotonic,
    )
