"""TLS from files, read again when they change: of a server, and of a service that calls others."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import structlog

from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock
from vigie.platform.errors import VigieError
from vigie.platform.grpc.settings import TlsConfig
from vigie.platform.reasons import CONFIG_INVALID

if TYPE_CHECKING:
    from cryptography import x509


class TlsFiles:
    """Key, certificate chain and authorities of `TlsConfig`, as they are in the files now.

    They are read at most every ``reload_seconds``. A broken new file (also: a certificate whose
    key has not come yet) keeps the last good ones and is logged.

    Args:
        config: the files.
        monotonic_clock: tells when to look again.
        section: of the configuration, for messages.
        host: DNS name that the certificate must bear; empty: any.

    Raises:
        VigieError: CONFIG_INVALID: a file cannot be read, the key is not the certificate's, or the
            certificate is another's.
    """

    def __init__(
        self,
        config: TlsConfig,
        monotonic_clock: MonotonicClock,
        *,
        section: str = "grpc.tls",
        host: str = "",
    ) -> None:
        self._config = config
        self._clock = monotonic_clock
        self._section = section
        self._host = host
        self._log = structlog.get_logger("vigie.grpc")
        self._end_us = 0
        self._content = self._load()
        self._read_us = monotonic_clock.now_us()

    @property
    def content(self) -> tuple[bytes, bytes, bytes | None]:
        """Key, chain, authorities: those read last."""
        return self._content

    @property
    def certificate_file(self) -> Path:
        """Where the certificate is."""
        return self._config.certificate_file

    @property
    def section(self) -> str:
        """Of the configuration."""
        return self._section

    @property
    def end_us(self) -> int:
        """When the first certificate of the chain expires, microseconds since the Unix epoch."""
        return self._end_us

    def look(self) -> bool:
        """Look at the files again, if it is time; whether they have changed."""
        now_us = self._clock.now_us()
        if now_us - self._read_us < self._config.reload_seconds * 1_000_000:
            return False
        self._read_us = now_us
        try:
            content = self._load()
        except VigieError as error:
            self._log.error("tls_files_not_reloaded", error=str(error))
            return False
        if content == self._content:
            return False
        self._content = content
        self._log.info("tls_files_reloaded", certificate=str(self._config.certificate_file))
        return True

    def _load(self) -> tuple[bytes, bytes, bytes | None]:
        config = self._config
        authorities = None
        if config.client_ca_file is not None:
            authorities = self._read(config.client_ca_file, "client_ca_file")
        key = self._read(config.key_file, "key_file")
        chain = self._read(config.certificate_file, "certificate_file")
        self._compare(key, chain)
        return key, chain, authorities

    def _read(self, path: Path, key: str) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise self._wrong(
                key, f"{path} cannot be read ({error.strerror}); check the path and its rights"
            ) from error

    def _compare(self, key: bytes, chain: bytes) -> None:
        # Loaded here: most processes serve plain text on loopback, and need none of it.
        from cryptography import x509
        from cryptography.hazmat.primitives import serialization

        form = (
            serialization.Encoding.DER,
            serialization.PublicFormat.SubjectPublicKeyInfo,
        )
        try:
            private = serialization.load_pem_private_key(key, None)
            owned = private.public_key().public_bytes(*form)
            certificates = x509.load_pem_x509_certificates(chain)
            named = certificates[0].public_key().public_bytes(*form)
        except (ValueError, TypeError):
            # The cause is cut off: its text could hold a part of the key.
            raise self._wrong(
                "key_file",
                f"{self._config.key_file} or {self._config.certificate_file} is no PEM file of "
                "an unencrypted key and its certificate",
            ) from None
        if owned != named:
            raise self._wrong(
                "key_file",
                f"{self._config.key_file} is not the key of {self._config.certificate_file}",
            )
        if self._host and self._host not in (names := _dns_names(certificates[0])):
            raise self._wrong(
                "certificate_file",
                f"{self._config.certificate_file} is a certificate of"
                f" {', '.join(names) or 'nobody'}, not of {self._host}: callers would refuse it",
            )
        end = min(each.not_valid_after_utc for each in certificates)
        self._end_us = round(end.timestamp()) * MICROSECONDS_PER_SECOND

    def _wrong(self, key: str, message: str) -> VigieError:
        if key == "client_ca_file" and not self._section.endswith("grpc.tls"):
            key = "ca_file"
        return VigieError(CONFIG_INVALID, message, field=f"{self._section}.{key}")


def _dns_names(certificate: "x509.Certificate") -> list[str]:
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return []
    return extension.value.get_values_for_type(x509.DNSName)


class ServerCertificates:
    """`TlsFiles` as a server wants them: gRPC asks for them at every handshake."""

    def __init__(self, files: TlsFiles, *, mutual: bool) -> None:
        self._files = files
        self._mutual = mutual

    def credentials(self) -> grpc.ServerCredentials:
        """Credentials that follow the files."""
        # `None` means "unchanged" to gRPC; its stubs do not know.
        fetch: Any = self._changed
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._files.content), fetch, require_client_authentication=self._mutual
        )

    def _changed(self) -> grpc.ServerCertificateConfiguration | None:
        return _configuration(self._files.content) if self._files.look() else None


def channel_credentials(files: TlsFiles) -> grpc.ChannelCredentials:
    """The same for a client that proves itself."""
    key, chain, authorities = files.content
    return grpc.ssl_channel_credentials(
        root_certificates=authorities, private_key=key, certificate_chain=chain
    )


def _configuration(
    content: tuple[bytes, bytes, bytes | None],
) -> grpc.ServerCertificateConfiguration:
    key, chain, authorities = content
    return grpc.ssl_server_certificate_configuration([(key, chain)], root_certificates=authorities)
