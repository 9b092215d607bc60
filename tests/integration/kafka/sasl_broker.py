"""A broker of the tests' own with SASL/SCRAM, TLS and ACLs, from a folder with Kafka's jars."""

import asyncio
import base64
import datetime as dt
import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ports import quiet_ports

ROOT = Path(__file__).resolve().parents[3]
SERVICES = ("registry", "access", "ingest", "recording", "evidence", "audit")
USERS = {f"vigie-{service}": f"password of {service}" for service in SERVICES}
ADMIN, ADMIN_PASSWORD = "admin", "password of admin"
READY_SECONDS = 90

Line = tuple[list[str], tuple[str, ...]]


@dataclass(frozen=True)
class SaslBroker:
    """A running broker: its address, the authority of its certificate, its files."""

    bootstrap: str
    ca_file: Path
    folder: Path
    home: Path

    def password_file(self, user: str) -> Path:
        path = self.folder / f"{user}.password"
        path.write_text({ADMIN: ADMIN_PASSWORD, **USERS}.get(user, "wrong"))
        return path

    def change_password(self, user: str, password: str) -> None:
        """Let a user have another SCRAM password; the password file stays as it is."""
        subprocess.run(
            [*java(self.home, 96), "kafka.admin.ConfigCommand",
             "--bootstrap-server", self.bootstrap, "--command-config", str(self._admin()),
             "--alter", "--entity-type", "users", "--entity-name", user,
             "--add-config", f"SCRAM-SHA-512=[password={password}]"],
            check=True, stdout=subprocess.DEVNULL, timeout=120,
        )  # fmt: skip

    def allow(self, prefix: str) -> None:
        """Give every service what `infra/kafka/acls.txt` says, under another prefix."""
        admin = self._admin()
        jobs = [
            subprocess.Popen(self._acl(admin, line, prefix), stdout=subprocess.DEVNULL)
            for line in _lines((ROOT / "infra" / "kafka" / "acls.txt").read_text())
        ]
        assert [job.wait(timeout=120) for job in jobs] == [0] * len(jobs)

    def _admin(self) -> Path:
        """How the tools of the broker are let in."""
        admin = self.folder / "admin.properties"
        admin.write_text(
            "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"
            f"ssl.truststore.type=PEM\nssl.truststore.location={self.ca_file}\n"
            "sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required "
            f'username="{ADMIN}" password="{ADMIN_PASSWORD}";\n'
        )
        return admin

    def _acl(self, admin: Path, line: Line, prefix: str) -> list[str]:
        users, (operations, kind, pattern, name) = line
        return [
            *java(self.home, 96), "org.apache.kafka.tools.AclCommand",
            "--bootstrap-server", self.bootstrap, "--command-config", str(admin),
            "--add", *(word for user in users for word in ("--allow-principal", f"User:{user}")),
            *(word for one in operations.split(",") for word in ("--operation", one)),
            f"--{kind}", name.replace("vigie.", prefix, 1), "--resource-pattern-type", pattern,
        ]  # fmt: skip


def _lines(text: str) -> list[Line]:
    """The rights of those services that tests need; a process a line is slow, so users share it."""
    lines = [line.split() for line in text.splitlines() if line and not line.startswith("#")]
    assert all(len(line) == 5 for line in lines)
    users: dict[tuple[str, ...], list[str]] = {}
    for user, *right in lines:
        if user in {"vigie-registry", "vigie-ingest", "vigie-audit"}:
            users.setdefault(tuple(right), []).append(user)
    return [(names, right) for right, names in users.items()]


def java(home: Path, heap_mib: int) -> list[str]:
    return ["java", f"-Xmx{heap_mib}m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
            "-cp", f"{home}/*"]  # fmt: skip


def certificates(folder: Path) -> tuple[Path, Path]:
    """An authority's certificate, and a PEM key store of the broker."""
    now = dt.datetime.now(dt.UTC)

    def certificate(subject: str, issuer: str, key: Any, signer: Any, *extensions: Any) -> Any:
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )
        for extension in extensions:
            builder = builder.add_extension(extension, critical=True)
        return builder.sign(signer, hashes.SHA256())

    authority, broker = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    root = certificate(
        "test authority", "test authority", authority, authority,
        x509.BasicConstraints(ca=True, path_length=0),
    )  # fmt: skip
    names = x509.SubjectAlternativeName(
        [x509.IPAddress(IPv4Address("127.0.0.1")), x509.DNSName("localhost")]
    )
    own = certificate("broker", "test authority", broker, authority, names)
    pem = serialization.Encoding.PEM
    ca_file, store = folder / "ca.pem", folder / "broker.pem"
    ca_file.write_bytes(root.public_bytes(pem))
    store.write_bytes(
        broker.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + own.public_bytes(pem)
        + root.public_bytes(pem)
    )
    return ca_file, store


@pytest.fixture(scope="module")
def sasl_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SaslBroker]:
    given = os.environ.get("VIGIE_TEST_KAFKA_HOME")
    if not given or shutil.which("java") is None:
        pytest.skip("no server: Kafka with SASL (VIGIE_TEST_KAFKA_HOME: a folder with its jars)")
    home, folder = Path(given), tmp_path_factory.mktemp("sasl-broker")
    ca_file, store = certificates(folder)
    port, controller = quiet_ports(2)
    properties = folder / "server.properties"
    properties.write_text(_properties(folder, store, ca_file, port, controller))
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
    users = [
        word
        for user, password in {ADMIN: ADMIN_PASSWORD, **USERS}.items()
        for word in ("--add-scram", f'SCRAM-SHA-512=[name={user},password="{password}"]')
    ]
    subprocess.run(
        [*java(home, 128), "kafka.tools.StorageTool", "format", "--cluster-id", cluster,
         "--config", str(properties), *users],
        check=True, capture_output=True,
    )  # fmt: skip
    with (folder / "log").open("wb") as log:
        broker = subprocess.Popen(
            [*java(home, 384), "kafka.Kafka", str(properties)], stdout=log, stderr=log
        )
    try:
        asyncio.run(_ready(broker, port, folder / "log"))
        yield SaslBroker(f"127.0.0.1:{port}", ca_file, folder, home)
    finally:
        broker.kill()
        broker.wait()


async def _ready(broker: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            assert broker.poll() is None, log.read_text()[-3000:]
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.2)
                continue
            writer.close()
            return


def _properties(folder: Path, store: Path, ca_file: Path, port: int, controller: int) -> str:
    return f"""\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=SASL_SSL://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=SASL_SSL://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required \
username="{ADMIN}" password="{ADMIN_PASSWORD}";
ssl.keystore.type=PEM
ssl.keystore.location={store}
ssl.truststore.type=PEM
ssl.truststore.location={ca_file}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:{ADMIN};User:ANONYMOUS
log.dirs={folder / "data"}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=16777216
"""
