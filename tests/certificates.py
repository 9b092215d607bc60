"""A throw-away certificate authority, certificates of services and of cameras."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vigie.platform.grpc.peers import service_host, service_uri
from vigie.platform.grpc.services import ServiceTlsConfig
from vigie.simcam import TlsFiles

DAY: Final = dt.timedelta(days=1)
TRUST_DOMAIN: Final = "vigie.internal"


class Authority:
    """Signs whatever it is asked to."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
        certificate = self._build(self.name, self.key.public_key(), [], ca=True)
        self.file = self._write("ca.pem", certificate.public_bytes(serialization.Encoding.PEM))

    def issue(
        self,
        file: str,
        *,
        dns: Sequence[str] = ("localhost",),
        uris: Sequence[str] = (),
        addresses: Sequence[str] = (),
        ended: bool = False,
        lasting: dt.timedelta = DAY,
    ) -> tuple[Path, Path]:
        """Certificate and key, written as ``<file>.pem`` and ``<file>.key``."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, file)])
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns]
        names += [x509.UniformResourceIdentifier(uri) for uri in uris]
        names += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        certificate = self._build(
            subject, key.public_key(), names, ca=False, lasting=-DAY if ended else lasting
        )
        return (
            self._write(f"{file}.pem", certificate.public_bytes(serialization.Encoding.PEM)),
            self._write(f"{file}.key", _pem(key)),
        )

    def service(
        self, name: str, *, file: str = "", ended: bool = False, lasting: dt.timedelta = DAY
    ) -> None:
        """The certificate of a service, named in both ways."""
        self.issue(
            file or name,
            dns=[service_host(name, TRUST_DOMAIN)],
            uris=[service_uri(name, TRUST_DOMAIN)],
            ended=ended,
            lasting=lasting,
        )

    def config(self, **changes: Any) -> ServiceTlsConfig:
        """Section ``[tls]`` for every service that was given a certificate."""
        given = {
            "certificate_file": self.folder / "{service}.pem",
            "key_file": self.folder / "{service}.key",
            "ca_file": self.file,
            "trust_domain": TRUST_DOMAIN,
            **changes,
        }
        return ServiceTlsConfig.model_validate(given)

    def _build(
        self,
        subject: x509.Name,
        key: Any,
        names: Sequence[x509.GeneralName],
        *,
        ca: bool,
        lasting: dt.timedelta = DAY,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 2 * DAY)
            .not_valid_after(now + lasting)
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def _write(self, name: str, content: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content)
        return path


def camera_certificate(folder: Path) -> TlsFiles:
    """A certificate for 127.0.0.1 and localhost that nobody else has signed, as cameras have."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "camera")])
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - DAY)
        .not_valid_after(now + DAY)
        .add_extension(
            x509.SubjectAlternativeName([address, x509.DNSName("localhost")]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    files = TlsFiles(certificate=folder / "certificate.pem", private_key=folder / "key.pem")
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files.private_key.write_bytes(_pem(key))
    return files


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
