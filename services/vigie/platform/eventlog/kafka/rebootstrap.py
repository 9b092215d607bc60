"""Clients that reach none of the brokers they know ask the configured addresses again (KIP-899).

aiokafka asks those addresses once, at its start. From then on it knows the brokers of the newest
metadata only. Where two of three were down when it last asked, and have come back since, the third
takes every client with it when it goes: they would wait for it for ever, beside two that work.
"""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any, Final

import structlog

log = structlog.get_logger(__name__)

_PASSED_ON: Final = (
    "client_id", "request_timeout_ms", "ssl_context", "security_protocol", "sasl_mechanism",
    "sasl_plain_username", "sasl_plain_password",
)  # fmt: skip


def asks_again(client: Any, arguments: Callable[[], Mapping[str, Any]]) -> None:
    """Let a client begin anew at the configured addresses when no broker it knows answers.

    Args:
        client: the `AIOKafkaClient` inside a producer, a consumer or an admin client.
        arguments: how it is made; asked each time, so that credentials are read anew.
    """
    update = client._metadata_update  # noqa: SLF001 - it has no place where this could be told
    told = ""

    async def updated(cluster: Any, topics: AbstractSet[str]) -> bool:
        nonlocal told
        if await update(cluster, topics):
            told = ""
            return True
        try:
            if not await _connect(client, arguments()):
                return False
            log.info("eventlog_brokers_asked_again")
            return bool(await update(cluster, topics))
        except Exception as error:  # noqa: BLE001 - the boundary of aiokafka's task: see below
            # A secret may be away for the moment in which it is exchanged. aiokafka's task would
            # end with what is raised here, and everybody would wait for its answer for ever.
            if str(error) != told:
                told = str(error)
                log.warning("eventlog_brokers_not_asked_again", error=told)
            return False

    client._metadata_update = updated  # noqa: SLF001 - as above


async def _connect(client: Any, arguments: Mapping[str, Any]) -> bool:
    """Connect to the first configured address that answers, beside the known brokers.

    The client asks this connection like any other, and closes it when it knows brokers again.
    """
    from aiokafka.client import ConnectionGroup
    from aiokafka.conn import create_conn
    from aiokafka.errors import KafkaError

    for host, port, _ in client.hosts:
        try:
            connection = await create_conn(
                host,
                port,
                max_idle_ms=arguments["connections_max_idle_ms"],
                **{name: arguments[name] for name in _PASSED_ON if name in arguments},
            )
        except (OSError, TimeoutError, KafkaError):
            continue
        client._conns[("bootstrap", ConnectionGroup.DEFAULT)] = connection  # noqa: SLF001 - as above
        return True
    return False
