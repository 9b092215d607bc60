"""Makes aiokafka's clients from the configuration: security, limits, quiet logs.

Everything that imports aiokafka does so inside functions: a process without brokers never loads
it.
"""

import logging
import ssl
from typing import Any, Final

from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka.rebootstrap import asks_again
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.reasons import CONFIG_INVALID

_RETRY_BACK_OFF_MS: Final = 200
_METADATA_AGE_MS: Final = 60_000
_IDLE_MS: Final = 540_000
_BATCH_BYTES: Final = 128 * 1024
_HEARTBEATS_A_SESSION: Final = 6
_FETCH_WAIT_MS: Final = 500
_TRANSACTION_MS: Final = 15_000
"""A relay that dies within a transaction holds readers up for at most so long."""


class KafkaClients:
    """The factory of all clients of one log.

    Args:
        config: section ``[kafka]``.
        name: how the brokers' logs name this process.
    """

    def __init__(self, config: KafkaConfig, name: str = "vigie") -> None:
        self.config = config
        self._name = name
        # They say every attempt to reconnect, as errors with tracebacks. What matters is said
        # once by the log itself; details where the program's own level is DEBUG.
        if logging.getLogger().getEffectiveLevel() > logging.DEBUG:
            logging.getLogger("aiokafka").setLevel(logging.CRITICAL + 1)

    def arguments(self) -> dict[str, Any]:
        """What every client is given; passwords and certificates are read anew each time.

        Raises:
            VigieError: CONFIG_INVALID when a file cannot be read.
        """
        config = self.config
        arguments: dict[str, Any] = {
            "bootstrap_servers": list(config.bootstrap),
            "client_id": self._name,
            "request_timeout_ms": round(config.request_timeout_seconds * 1000),
            "retry_backoff_ms": _RETRY_BACK_OFF_MS,
            "metadata_max_age_ms": _METADATA_AGE_MS,
            "connections_max_idle_ms": _IDLE_MS,
            "security_protocol": config.security_protocol,
        }
        if config.uses_tls:
            arguments["ssl_context"] = self._tls()
        if config.uses_sasl:
            arguments["sasl_mechanism"] = config.sasl_mechanism
            arguments["sasl_plain_username"] = config.username
            arguments["sasl_plain_password"] = self._password()
        return arguments

    def producer(self, transactional_id: str | None = None) -> Any:
        """A producer that waits for all in-sync copies and stores no retry twice."""
        from aiokafka import AIOKafkaProducer

        more: dict[str, Any] = {}
        if transactional_id is not None:
            more = {"transactional_id": transactional_id, "transaction_timeout_ms": _TRANSACTION_MS}
        made = AIOKafkaProducer(
            **self.arguments(),
            **more,
            acks="all",
            enable_idempotence=True,
            max_batch_size=max(_BATCH_BYTES, self.config.max_event_bytes),
            max_request_size=2 * self.config.max_event_bytes,
        )
        asks_again(made.client, self.arguments)
        return made

    def consumer(self, group: str | None = None, assignor: Any = None) -> Any:
        """A consumer that sees only what is committed and commits nothing by itself."""
        from aiokafka import AIOKafkaConsumer

        session_ms = round(self.config.session_timeout_seconds * 1000)
        more: dict[str, Any] = {}
        if group is not None:
            more = {
                "group_id": group,
                "partition_assignment_strategy": (assignor,),
                "session_timeout_ms": session_ms,
                "rebalance_timeout_ms": session_ms,
                "heartbeat_interval_ms": session_ms // _HEARTBEATS_A_SESSION,
            }
        made = AIOKafkaConsumer(
            **self.arguments(),
            **more,
            enable_auto_commit=False,
            auto_offset_reset="none",
            isolation_level="read_committed",
            fetch_max_wait_ms=_FETCH_WAIT_MS,
            max_partition_fetch_bytes=max(1024 * 1024, self.config.max_event_bytes),
        )
        asks_again(made._client, self.arguments)  # noqa: SLF001 - see there
        return made

    def admin(self) -> Any:
        """A client that looks at topics and makes them."""
        from aiokafka.admin import AIOKafkaAdminClient

        return AIOKafkaAdminClient(**self.arguments())

    def _password(self) -> str:
        path = self.config.password_file
        assert path is not None
        try:
            return path.read_text(encoding="utf-8").strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise VigieError(
                CONFIG_INVALID, f"cannot read {path}: {error}", field="kafka.password_file"
            ) from error

    def _tls(self) -> ssl.SSLContext:
        config = self.config
        field = "kafka.ca_file"
        try:
            context = ssl.create_default_context(
                cafile=None if config.ca_file is None else str(config.ca_file)
            )
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if config.certificate_file is not None:
                field = "kafka.certificate_file"
                context.load_cert_chain(config.certificate_file, config.key_file)
        except (OSError, ssl.SSLError) as error:
            raise VigieError(CONFIG_INVALID, f"TLS to Kafka: {error}", field=field) from error
        return context
