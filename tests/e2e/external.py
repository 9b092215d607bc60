"""Kafka, S3 and PostgreSQL of one installation under test: names of its own, removed afterwards."""

import asyncio
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import pytest

from servers_postgres import PostgresServer
from servers_s3 import S3Server, remove_bucket

_STORES: Final = {"minio": "VIGIE_TEST_S3", "seaweedfs": "VIGIE_TEST_SEAWEED_S3"}
SERVED: Final = ("access", "audit", "registry", "ingest", "recording", "evidence")


def _given(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"no server: wants the server {variable}")
    return value


@dataclass(slots=True)
class External:
    """What an installation stands on outside of its folder.

    Attributes:
        folder: of the installation, for files of keys.
        bootstrap: brokers.
        postgres: server.
        store: server.
        name: of database and bucket, and before topics.
    """

    folder: Path
    bootstrap: str
    postgres: PostgresServer
    store: S3Server
    name: str

    @classmethod
    def given(cls, store: str, folder: Path) -> "External":
        """The servers of the environment; skips the test where one is missing."""
        variable = _STORES[store]
        endpoint, bootstrap = _given(variable), _given("VIGIE_TEST_KAFKA")
        url = urlsplit(_given("VIGIE_TEST_POSTGRES"))
        postgres = PostgresServer(
            url.hostname or "", url.port or 5432, unquote(url.username or ""),
            unquote(url.password or ""),
        )  # fmt: skip
        keys = (os.environ[f"{variable}_ACCESS_KEY"], os.environ[f"{variable}_SECRET_KEY"])
        s3 = S3Server(store, endpoint, *keys)
        return cls(folder, bootstrap, postgres, s3, f"vigie-e2e-{secrets.token_hex(5)}")

    @property
    def database(self) -> str:
        """Name of the database."""
        return self.name.replace("-", "_")

    def sections(self) -> dict[str, dict[str, str]]:
        """What the configuration says of them."""
        for file, content in (
            ("postgres-password", self.postgres.password),
            ("access-key", self.store.access_key),
            ("secret-key", self.store.secret_key),
        ):
            (self.folder / file).write_text(content)
            (self.folder / file).chmod(0o600)
        server = self.postgres
        url = f"postgresql://{server.user}@{server.host}:{server.port}/{self.database}"
        brokers = ", ".join(f'"{address}"' for address in self.bootstrap.split(","))
        return {
            "database": {"url": f'"{url}"', "password_file": '"postgres-password"'},
            "kafka": {
                "bootstrap": f"[{brokers}]",
                "topic_prefix": f'"{self.name}."',
                "replication": "1",
                "min_in_sync": "1",
                "session_timeout_seconds": "6.0",
                "outbox_poll_seconds": "0.2",
            },
            "s3": {
                "endpoint": f'"{self.store.endpoint}"',
                "bucket": f'"{self.name}"',
                "access_key_file": '"access-key"',
                "secret_key_file": '"secret-key"',
            },
        }

    async def prepare(
        self, config_file: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        """Make everything, as the guide says."""
        await self.new_database()
        for arguments in (("migrate",), ("topics", "apply"), ("store", "init")):
            await administer(*arguments, "--config", str(config_file), environment=environment)

    async def remove(self) -> None:
        """Remove everything again."""
        await self.postgres.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")
        await asyncio.to_thread(remove_bucket, self.store, self.name)
        await self.lose_topics()  # last: brokers of the tests' own may be gone

    async def lose_topics(self) -> None:
        """Remove every topic of the installation, with all that stands in them."""
        from vigie.platform.eventlog.kafka import KafkaConfig
        from vigie.platform.eventlog.kafka.clients import KafkaClients
        from vigie.platform.eventlog.kafka.topics import TopicAdmin

        prefix = f"{self.name}."
        clients = KafkaClients(
            KafkaConfig(bootstrap=self.bootstrap.split(","), topic_prefix=prefix)
        )
        admin = clients.admin()
        await admin.start()
        try:
            own = [name for name in await admin.list_topics() if name.startswith(prefix)]
        finally:
            await admin.close()
        if own:
            await TopicAdmin(clients).remove(own)

    async def new_database(self) -> None:
        """An empty database in the place of the one there was."""
        await self.postgres.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")
        await self.postgres.execute(
            f"CREATE DATABASE {self.database} TEMPLATE template0 ENCODING 'UTF8'"
            " LC_COLLATE 'C' LC_CTYPE 'C'"
        )

    async def postgres_tool(self, tool: str, *arguments: str) -> None:
        """``pg_dump`` or ``pg_restore`` on the database; skips the test where there is none."""
        found = shutil.which(tool)
        if found is None:
            pytest.skip(f"no server: wants PostgreSQL's {tool}")
        server = self.postgres
        process = await asyncio.create_subprocess_exec(
            found, "--host", server.host, "--port", str(server.port), "--username", server.user,
            "--dbname", self.database, *arguments,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=os.environ | {"PGPASSWORD": server.password},
        )  # fmt: skip
        _, said = await process.communicate()
        assert process.returncode == 0, said.decode()

    def objects(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        """Objects of the bucket below a folder of keys, in the order of their keys."""
        client = self.store.client()
        for found in client.list_objects(self.name, prefix=prefix, recursive=True):
            key = found.object_name or ""
            answer = client.get_object(self.name, key)
            try:
                yield key, answer.read()
            finally:
                answer.close()
                answer.release_conn()


async def administer(*arguments: str, environment: Mapping[str, str] | None = None) -> str:
    """A command of who sets an installation up; what it said.

    Args:
        arguments: after ``vigie``.
        environment: beyond that of the test.

    Raises:
        AssertionError: it failed.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vigie", *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=os.environ | dict(environment or {}),
    )  # fmt: skip
    out, _ = await process.communicate()
    said = out.decode(errors="replace")
    assert process.returncode == 0, f"vigie {arguments}: {said}"
    return said
