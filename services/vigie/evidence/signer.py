"""The key that signs packages, and where it comes from."""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from vigie.evidence.cms import SigningKey, sign_detached
from vigie.evidence.settings import EvidenceConfig
from vigie.platform.clock import WallClock, from_us
from vigie.platform.errors import VigieError
from vigie.platform.folders import write_file_durably
from vigie.platform.reasons import CONFIG_INVALID

KEY_FILE = "evidence-signing-key.pem"
CERTIFICATE_FILE = "evidence-signing-certificate.pem"
_OWN_CERTIFICATE_YEARS = 10


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs manifests; hand over its certificate, publish its fingerprint."""

    key: SigningKey
    certificate: x509.Certificate
    chain: tuple[x509.Certificate, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate (DER), lower-case hexadecimal."""
        return self.certificate.fingerprint(hashes.SHA256()).hex()

    def sign(self, content: bytes) -> bytes:
        """Detached CMS signature, DER."""
        return sign_detached(content, self.key, self.certificate, self.chain)

    def certificate_pem(self) -> bytes:
        """The certificate and its chain, PEM, as packages carry it."""
        pem = serialization.Encoding.PEM
        return b"".join(each.public_bytes(pem) for each in (self.certificate, *self.chain))


def load_signer(config: EvidenceConfig, data_directory: Path, wall_clock: WallClock) -> Signer:
    """The signer of this installation.

    Configured files win; else a key and a self-signed certificate are made once in
    ``data_directory`` (key readable by its owner only): enough for one machine, where trust begins
    with the fingerprint that is published.

    Raises:
        VigieError: CONFIG_INVALID naming the file that cannot be used.
    """
    key_file, certificate_file = config.signing_key_file, config.signing_certificate_file
    if (key_file is None) != (certificate_file is None):
        raise VigieError(
            CONFIG_INVALID,
            "signing_key_file and signing_certificate_file belong together",
            field="evidence",
        )
    if key_file is None or certificate_file is None:
        key_file = data_directory / KEY_FILE
        certificate_file = data_directory / CERTIFICATE_FILE
        if not key_file.exists():
            _make(key_file, certificate_file, config.installation, wall_clock)
    return _load(key_file, certificate_file)


def _load(key_file: Path, certificate_file: Path) -> Signer:
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
        certificates = x509.load_pem_x509_certificates(certificate_file.read_bytes())
    except (OSError, ValueError, TypeError) as error:
        raise VigieError(
            CONFIG_INVALID, f"{key_file.name} or {certificate_file.name}: {error}", field="evidence"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise VigieError(
            CONFIG_INVALID, f"{key_file.name}: neither an EC nor an RSA key", field="evidence"
        )
    if certificates[0].public_key() != key.public_key():
        raise VigieError(
            CONFIG_INVALID,
            f"{certificate_file.name} is not the certificate of {key_file.name}",
            field="evidence.signing_certificate_file",
        )
    return Signer(key, certificates[0], tuple(certificates[1:]))


def _make(key_file: Path, certificate_file: Path, name: str, wall_clock: WallClock) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    start = from_us(wall_clock.now_us()) - dt.timedelta(hours=1)
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject)
    builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(start)
    builder = builder.not_valid_after(start + dt.timedelta(days=365 * _OWN_CERTIFICATE_YEARS))
    builder = builder.add_extension(
        x509.BasicConstraints(ca=False, path_length=None), critical=True
    )
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    builder = builder.add_extension(usage, critical=True)
    builder = builder.add_extension(
        x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), critical=False
    )
    certificate = builder.sign(key, hashes.SHA256())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    # The certificate first: a key without one would be found at the next start and be refused.
    write_file_durably(certificate_file, certificate.public_bytes(serialization.Encoding.PEM))
    write_file_durably(key_file, pem, mode=0o600)
