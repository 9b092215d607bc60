"""What a client fails with, as one line that says what, where, and what is wrong with it."""

import asyncio
import ssl
from typing import Any, Final

import structlog

from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.reasons import EVENT_LOG_UNAVAILABLE

log = structlog.get_logger(__name__)

_PLAINLY: Final = {
    "KafkaConnectionError": "no broker answers",
    "NodeNotReadyError": "no broker answers",
    "NoBrokersAvailable": "no broker answers",
    "KafkaTimeoutError": "the brokers did not answer in time",
    "RequestTimedOutError": "the brokers did not answer in time",
    "NotEnoughReplicasError": "fewer copies are in sync than must be (min.insync.replicas)",
    "NotEnoughReplicasAfterAppendError": (
        "fewer copies are in sync than must be (min.insync.replicas)"
    ),
    "LeaderNotAvailableError": "the partition has no leader now",
    "NotLeaderForPartitionError": "the partition has no leader now",
    "TopicAuthorizationFailedError": "this user may not use the topic (ACL)",
    "GroupAuthorizationFailedError": "this user may not use the consumer group (ACL)",
    "ClusterAuthorizationFailedError": "this user may not do this at the cluster (ACL)",
    "TransactionalIdAuthorizationFailed": "this user may not use the transactional id (ACL)",
    "AuthenticationFailedError": "the brokers refuse the name or the password",
    "SaslAuthenticationFailed": "the brokers refuse the name or the password",
    "UnsupportedSaslMechanismError": "the brokers do not offer this sasl_mechanism",
    "AuthenticationMethodNotSupported": "the brokers do not offer this sasl_mechanism",
    "MessageSizeTooLargeError": "the topic takes only smaller events (max.message.bytes)",
    "UnknownTopicOrPartitionError": "the topic does not exist",
}


_TASKS: Final = (
    "_sender_task",
    "_coordination_task",
    "_heartbeat_task",
    "_commit_refresh_task",
    "_reset_committed_task",
    "_fetch_task",
)
"""What aiokafka's clients leave running when they cannot stop: a member that nobody reads for."""


_SHOWN_BYTES: Final = 40


def plainly(error: BaseException) -> str:
    """One line about ``error``; never a secret."""
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "the brokers did not answer in time"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the broker's certificate is not trusted ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or 'no reason given'})"
    if isinstance(error, UnicodeDecodeError):
        return f"a record has a header whose name is no UTF-8 ({error.object[:_SHOWN_BYTES]!r})"
    known = _PLAINLY.get(type(error).__name__)
    if known is not None:
        return known
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def failures() -> tuple[type[Exception], ...]:
    """What clients raise when the brokers or the network fail.

    Also when a record bears a header whose name is no UTF-8: aiokafka raises that as it is, and a
    reader that did not know it would end for good.
    """
    from aiokafka.errors import ConsumerStoppedError, IllegalOperation, KafkaError

    return (
        KafkaError,
        ConsumerStoppedError,
        IllegalOperation,
        OSError,
        asyncio.TimeoutError,
        UnicodeDecodeError,
    )


def unavailable(clients: KafkaClients, doing: str, error: BaseException | str) -> VigieError:
    """EVENT_LOG_UNAVAILABLE: what was being done, at which brokers, and what is wrong."""
    where = ", ".join(clients.config.bootstrap)
    what = error if isinstance(error, str) else plainly(error)
    return VigieError(EVENT_LOG_UNAVAILABLE, f"{doing}: {what} (Kafka at {where})")


async def started(clients: KafkaClients, client: Any, doing: str) -> Any:
    """Start a client within the time of a request, or close it and say why not.

    Raises:
        VigieError: EVENT_LOG_UNAVAILABLE; wrong credentials and certificates are named.
    """
    try:
        async with asyncio.timeout(2 * clients.config.request_timeout_seconds):
            await client.start()
    except failures() as error:
        await closed(client)
        raise unavailable(clients, doing, await _why(clients, error)) from error
    except BaseException:
        await closed(client)
        raise
    return client


async def closed(client: Any, *, seconds: float = 5.0) -> None:
    """Close a client, whatever its state; bounded."""
    stop = client.close if hasattr(client, "close") else client.stop
    # In a task of its own: aiokafka awaits tasks that it has cancelled, and so raises
    # CancelledError where nobody has cancelled the caller.
    stopping: asyncio.Future[None] = asyncio.ensure_future(stop())
    try:
        await asyncio.wait([stopping], timeout=seconds)
    finally:
        whole = stopping.done() and not stopping.cancelled() and stopping.exception() is None
        if not whole:
            stopping.cancel()
            log.debug("kafka_client_torn_down", client=type(client).__name__)
            await _torn_down(client)
            await _ended(stopping)


async def _torn_down(client: Any) -> None:
    """Cut the connections and end the tasks of a client that does not stop by itself.

    aiokafka has no public way: its `stop` waits until what it holds is delivered.
    """
    parts = ("_sender", "_coordinator", "_fetcher")
    tasks = [
        task
        for part in parts
        for name in _TASKS
        if isinstance(task := getattr(getattr(client, part, None), name, None), asyncio.Task)
    ]
    for task in tasks:
        task.cancel()
    inner = getattr(client, "client", None) or getattr(client, "_client", None)
    if inner is not None:
        await _ended(asyncio.ensure_future(inner.close()))
    for task in tasks:
        await _ended(task)


async def _ended(task: "asyncio.Future[Any]") -> None:
    """Wait a moment for the end of a task; whatever it fails with is of no interest any more."""
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    await asyncio.wait([task], timeout=1.0)


async def _why(clients: KafkaClients, error: BaseException) -> BaseException:
    """The cause behind "unable to bootstrap": the client only logs it."""
    from aiokafka.conn import create_conn

    if type(error).__name__ != "KafkaConnectionError":
        return error
    arguments = clients.arguments()
    address = arguments.pop("bootstrap_servers")[0]
    host, _, port = address.rpartition(":")
    kept = {
        name: value
        for name, value in arguments.items()
        if name.startswith(("ssl_", "sasl_", "security_")) or name == "client_id"
    }
    try:
        connection = await create_conn(host.strip("[]"), int(port), request_timeout_ms=3000, **kept)
    except failures() as cause:
        # aiokafka's word is better where it has one; a plain OSError is "no broker answers".
        if isinstance(cause, ssl.SSLError) or not isinstance(cause, OSError):
            return cause
        return error
    connection.close()
    return error
