"""TLS of the server from files, read again when they change."""

from pathlib import Path
from typing import Any

import grpc
import structlog

from vigie.platform.clock import MonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.settings import TlsConfig
from vigie.platform.reasons import CONFIG_INVALID


def _read(path: Path, key: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise VigieError(
            CONFIG_INVALID,
            f"{path} cannot be read ({error.strerror}); check the path and its rights",
            field=f"grpc.tls.{key}",
        ) from error


class ServerCertificates:
    """The files of `TlsConfig` as gRPC wants them.

    gRPC asks for the configuration at every handshake; files are read at most every
    ``reload_seconds``. A broken new file keeps the last good one and is logged.
    """

    def __init__(self, config: TlsConfig, monotonic_clock: MonotonicClock) -> None:
        self._config = config
        self._clock = monotonic_clock
        self._log = structlog.get_logger("vigie.grpc")
        self._content = self._load()
        self._read_us = monotonic_clock.now_us()

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that follow the files."""
        # `None` means "unchanged" to gRPC; its stubs do not know.
        fetch: Any = self._changed
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._content),
            fetch,
            require_client_authentication=self._config.client_ca_file is not None,
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        now_us = self._clock.now_us()
        if now_us - self._read_us < self._config.reload_seconds * 1_000_000:
            return None
        self._read_us = now_us
        try:
            content = self._load()
        except VigieError as error:
            self._log.error("tls_files_not_reloaded", error=str(error))
            return None
        if content == self._content:
            return None
        self._content = content
        self._log.info("tls_files_reloaded", certificate=str(self._config.certificate_file))
        return _configuration(content)

    def _load(self) -> tuple[bytes, bytes, bytes | None]:
        config = self._config
        authorities = None
        if config.client_ca_file is not None:
            authorities = _read(config.client_ca_file, "client_ca_file")
        key = _read(config.key_file, "key_file")
        return key, _read(config.certificate_file, "certificate_file"), authorities


def _configuration(
    content: tuple[bytes, bytes, bytes | None],
) -> grpc.ServerCertificateConfiguration:
    key, chain, authorities = content
    return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=authorities)
