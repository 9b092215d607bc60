"""TLS to the database: a private authority, the name of the server, a client certificate.

A doorman speaks PostgreSQL's way into TLS and hands on to the real server in plain text.
"""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from servers_postgres import TestDatabase
from vigie.platform.database.postgresql.database import open_postgresql
from vigie.platform.errors import VigieError

_SSL_REQUEST = b"\x00\x00\x00\x08\x04\xd2\x16\x2f"


@dataclass
class Authority:
    """Makes certificates in a folder."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        made = self._builder(self._subject, self._key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.file = self.folder / f"{self.name}.pem"
        self.file.write_bytes(_pem(made.sign(self._key, hashes.SHA256())))

    def _builder(self, subject: x509.Name, key: Any) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )

    def certificate(self, common: str, *names: str) -> tuple[Path, Path]:
        """Files of certificate and key for DNS names."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        builder = self._builder(subject, key).add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names or (common,)]),
            critical=False,
        )
        certificate, private = self.folder / f"{common}.crt", self.folder / f"{common}.key"
        certificate.write_bytes(_pem(builder.sign(self._key, hashes.SHA256())))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return certificate, private


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


@asynccontextmanager
async def doorman(made: TestDatabase, context: ssl.SSLContext) -> AsyncIterator[int]:
    """The port of a PostgreSQL that speaks TLS and nothing else."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except (OSError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            assert await reader.readexactly(8) == _SSL_REQUEST
            writer.write(b"S")
            await writer.start_tls(context)
        except (OSError, ssl.SSLError, asyncio.IncompleteReadError):
            writer.close()
            return
        up_reader, up_writer = await asyncio.open_connection(made.server.host, made.server.port)
        await asyncio.gather(pump(reader, up_writer), pump(up_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


def server_context(files: tuple[Path, Path], clients: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*files)
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context


async def checked(made: TestDatabase, port: int, **changes: Any) -> None:
    url = f"postgresql://{made.server.user}@localhost:{port}/{made.name}"
    database = await open_postgresql(made.config(url=url, **changes), "public")
    try:
        await database.check()
    finally:
        await database.close()


async def test_a_private_authority_is_trusted_and_another_is_not(
    postgres_database: TestDatabase, tmp_path: Path
) -> None:
    ours, foreign = Authority(tmp_path, "ours"), Authority(tmp_path, "foreign")
    context = server_context(ours.certificate("db", "localhost"))
    async with doorman(postgres_database, context) as port:
        await checked(postgres_database, port, ca_file=ours.file)
        with pytest.raises(VigieError, match="its certificate is not accepted"):
            await checked(postgres_database, port, ca_file=foreign.file)
        with pytest.raises(VigieError, match="its certificate is not accepted"):
            await checked(postgres_database, port, tls=True)


async def test_a_certificate_for_another_name_is_refused(
    postgres_database: TestDatabase, tmp_path: Path
) -> None:
    ours = Authority(tmp_path, "ours")
    context = server_context(ours.certificate("db", "elsewhere.example"))
    async with doorman(postgres_database, context) as port:
        with pytest.raises(VigieError, match=r"not accepted.*[Hh]ostname mismatch"):
            await checked(postgres_database, port, ca_file=ours.file)


async def test_a_server_may_ask_who_we_are(postgres_database: TestDatabase, tmp_path: Path) -> None:
    ours = Authority(tmp_path, "ours")
    context = server_context(ours.certificate("db", "localhost"), clients=ours.file)
    mine = ours.certificate("vigie_recording")
    async with doorman(postgres_database, context) as port:
        await checked(
            postgres_database, port, ca_file=ours.file, certificate_file=mine[0], key_file=mine[1]
        )
        with pytest.raises(VigieError, match="DATABASE_UNAVAILABLE"):
            await checked(postgres_database, port, ca_file=ours.file)


async def test_a_server_without_tls_is_refused_rather_than_spoken_to_in_plain_text(
    postgres_database: TestDatabase, tmp_path: Path
) -> None:
    ours = Authority(tmp_path, "ours")
    rows = await postgres_database.execute("SHOW ssl")
    if rows[0]["ssl"] == "on":
        pytest.skip("the server speaks TLS")
    with pytest.raises(VigieError, match="DATABASE_UNAVAILABLE"):
        await checked(postgres_database, postgres_database.server.port, ca_file=ours.file)


async def test_an_authority_that_cannot_be_read_is_named(
    postgres_database: TestDatabase,
) -> None:
    with pytest.raises(VigieError, match=r"CONFIG_INVALID.*ca_file /nowhere/ca.pem"):
        await checked(postgres_database, 1, ca_file="/nowhere/ca.pem")
