"""What each target opens, runs and loads; how a process comes up before what it stands on."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc.aio
import pytest

from vigie.access.v1 import access_service_pb2, access_service_pb2_grpc
from vigie.app import Application
from vigie.audit.v1 import audit_service_pb2, audit_service_pb2_grpc
from vigie.platform.config import Config, load_config
from vigie.platform.database import Database, open_database
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog, open_event_log
from vigie.platform.faultpoint import NO_FAULTS
from vigie.platform.grpc.bearer import FixedToken
from vigie.platform.grpc.client import ClientError, open_channel
from vigie.platform.lifecycle import ExitCode, StartError
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import ObjectStore, open_directory_store
from vigie.platform.reasons import CONFIG_INVALID, EVENT_LOG_UNAVAILABLE
from vigie.platform.supervisor import Supervisor
from vigie.settings import SECTIONS
from vigie.storage import SYSTEM_CLOCKS, Basis, check_choice, open_storage
from vigie.targets import NEEDS_OF, TARGETS, Target
from vigie.topics import TOPICS, topics_named

PEOPLE = """
[agencies.csu]
name = "Centre"
[people.controle]
name = "Controle"
agency = "csu"
roles = ["auditor"]
zones = ["*"]
"""
OUTSIDE: Mapping[str, str] = {
    "VIGIE_KAFKA__BOOTSTRAP": '["127.0.0.1:9"]',
    "VIGIE_DATABASE__URL": "postgresql://127.0.0.1:9/vigie",
    "VIGIE_S3__ENDPOINT": "http://127.0.0.1:9",
}


def configured(folder: Path, without: str = "", **more: str) -> Config:
    """A configuration on servers elsewhere, which nobody asks."""
    people = folder / "people.toml"
    people.write_text(PEOPLE, "utf-8")
    environment = {
        "VIGIE_DATA__DIRECTORY": str(folder / "data"),
        "VIGIE_ACCESS__PEOPLE_FILE": str(people),
        "VIGIE_HTTP__LISTEN": "127.0.0.1:0",
        "VIGIE_GRPC__LISTEN": '["127.0.0.1:0"]',
        "VIGIE_SERVICES__INGEST": '["127.0.0.1:9"]',
        "VIGIE_SERVICES__RECORDING": '["127.0.0.1:9"]',
        "VIGIE_SERVICES__LISTEN": "127.0.0.1:0",
        **OUTSIDE,
        **more,
    }
    environment.pop(without, None)
    return load_config(None, SECTIONS, environment)


class Forms:
    """Embedded forms in the place of servers; each can be away, or wrong for good."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trouble: VigieError | None = None
        self.databases: dict[str, Database] = {}
        self.logs: list[tuple[str, str | None]] = []
        self.stores = 0

    async def database(self, basis: Basis, context: str) -> Database:
        folder = self.folder / f"database-{context}"
        database = await open_database(folder / "vigie.db")
        await open_event_log(database, basis.clocks.wall)  # positions and quarantine
        self.databases[context] = database
        basis.closing.push_async_callback(database.close)
        return database

    async def event_log(self, basis: Basis, name: str, database: Database | None) -> EventLog:
        if self.trouble is not None:
            raise self.trouble
        of = next((c for c, found in self.databases.items() if found is database), None)
        self.logs.append((name, of))
        under = database
        if under is None:
            under = await open_database(self.folder / f"log-{len(self.logs)}" / "vigie.db")
            basis.closing.push_async_callback(under.close)
        return await open_event_log(under, basis.clocks.wall)  # type: ignore[arg-type]  # embedded

    async def store(self, basis: Basis) -> ObjectStore:
        self.stores += 1
        return await open_directory_store(self.folder / "store", basis.clocks.wall)


@pytest.mark.parametrize("name", [name for name in TARGETS if name not in {"all", "gateway"}])
async def test_a_target_opens_what_its_context_needs_and_nothing_else(
    name: str, tmp_path: Path
) -> None:
    forms, needs = Forms(tmp_path), NEEDS_OF[name]
    supervisor = Supervisor()
    async with AsyncExitStack() as closing:
        basis = Basis(
            target=TARGETS[name],
            config=configured(tmp_path),
            clocks=SYSTEM_CLOCKS,
            metrics=MetricsRegistry(),
            supervisor=supervisor,
            faults=NO_FAULTS,
            closing=closing,
        )
        storage = await open_storage(basis, forms)
        for remote in storage.remotes:
            await remote.start()
        for remote in storage.remotes:
            await remote.opened()  # type: ignore[attr-defined]  # every one is a `Remote`
        own = [name] if needs.database else []
        assert list(storage.databases) == list(forms.databases) == own
        wanted = [("event-log", None)]
        if needs.topics:
            wanted.append((f"event-log-{name}", name if needs.database else None))
        assert sorted(forms.logs) == sorted(wanted)
        assert forms.stores == int(needs.store)
        assert (storage.store is not None) == needs.store
        assert storage.mark is None
        for remote in storage.remotes:
            await remote.stop(timeout_seconds=5)
    assert supervisor.error is None
    assert not (tmp_path / "data" / "vigie.db").exists()


def refusal(target: Target, config: Config) -> str:
    """The key that is wrong; empty: none is."""
    try:
        check_choice(target, config)
    except VigieError as error:
        return error.field or ""
    return ""


def test_services_apart_must_share_what_they_share(tmp_path: Path) -> None:
    for variable, field, targets in (
        ("VIGIE_KAFKA__BOOTSTRAP", "kafka.bootstrap", set(TARGETS) - {"gateway"}),
        ("VIGIE_DATABASE__URL", "database.url", {"audit", "registry", "recording", "evidence"}),
        ("VIGIE_S3__ENDPOINT", "s3.endpoint", {"ingest", "recording", "evidence"}),
    ):
        config = configured(tmp_path, variable)
        refused = {name: refusal(target, config) for name, target in TARGETS.items()}
        refused = {name: found for name, found in refused.items() if found}
        if variable == "VIGIE_KAFKA__BOOTSTRAP":
            # PostgreSQL without Kafka is no choice for one process either.
            assert refused.pop("gateway") == field
        assert set(refused) == targets - ({"gateway"} if "gateway" in targets else set())
        assert set(refused.values()) == {field}


def test_every_topic_is_somebodys() -> None:
    used = {topic for target in TARGETS.values() for topic in target.topics}
    assert used == {topic.name for topic in TOPICS}
    assert [topic.name for topic in topics_named(["holds", "cameras"])] == ["cameras", "holds"]
    with pytest.raises(ValueError, match="no such topics"):
        topics_named(["nonsense"])


async def until_ready(application: Application) -> None:
    while any(application.lifecycle.readiness().values()):
        await asyncio.sleep(0.01)


async def asked(address: str) -> tuple[int, dict[str, Any]]:
    """Status and answer of an HTTP path."""

    def ask() -> tuple[int, dict[str, Any]]:
        try:
            with urlopen(f"http://{address}") as answer:
                return answer.status, json.load(answer)
        except OSError as error:
            body: Any = error
            return body.code, json.loads(body.read())

    return await asyncio.to_thread(ask)


async def test_a_service_comes_up_alone_and_says_what_it_waits_for(tmp_path: Path) -> None:
    forms = Forms(tmp_path)
    forms.trouble = VigieError(EVENT_LOG_UNAVAILABLE, "no broker answers")
    config = configured(tmp_path)
    async with Application(config, target=TARGETS["audit"], forms=forms) as application:
        running = asyncio.create_task(application.lifecycle.run())
        while "waits" not in (application.lifecycle.readiness()["audit"] or ""):
            await asyncio.sleep(0.01)
        http = application.http.address
        status, answer = await asked(f"{http}/readyz")
        assert status == 503
        waits = answer["modules"]["audit"]["reason"]
        assert waits.startswith("waits: event log: kafka at 127.0.0.1:9 unreachable since")
        assert answer["modules"]["grpc"] == {"ready": True}
        assert (await asked(f"{http}/healthz"))[0] == 200

        token = application.wiring.access.issuer.create_token("controle", 60)
        channel = open_channel(application.host.internal_address, source=FixedToken(token))
        stub = audit_service_pb2_grpc.AuditServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.SearchAccesses(audit_service_pb2.SearchAccessesRequest())
        error = ClientError.of(caught.value)
        assert error.reason == "SERVICE_STARTING"
        assert "kafka at 127.0.0.1:9" in error.message

        forms.trouble = None
        await until_ready(application)
        run_file = tmp_path / "data" / "run-audit.json"
        while not run_file.exists():
            await asyncio.sleep(0.01)
        places = json.loads(run_file.read_text("utf-8"))
        assert places["grpc"] == places["services"] == application.host.internal_address
        assert (await asked(f"{http}/readyz"))[0] == 200
        await channel.close(grace=None)
        application.lifecycle.ask_to_stop()
        assert await running is ExitCode.CLEAN
    assert not run_file.exists()


async def test_access_answers_who_one_is_while_the_log_is_away(tmp_path: Path) -> None:
    """What needs no record needs no log; what needs one is refused."""
    forms = Forms(tmp_path)
    forms.trouble = VigieError(EVENT_LOG_UNAVAILABLE, "no broker answers")
    config = configured(tmp_path)
    async with Application(config, target=TARGETS["access"], forms=forms) as application:
        running = asyncio.create_task(application.lifecycle.run())
        while application.lifecycle.readiness()["grpc"] is not None:
            await asyncio.sleep(0.01)
        token = application.wiring.access.issuer.create_token("controle", 60)
        channel = open_channel(application.host.internal_address, source=FixedToken(token))
        stub = access_service_pb2_grpc.AccessServiceStub(channel)
        answer = await stub.WhoAmI(access_service_pb2.WhoAmIRequest())
        assert answer.subject == "controle"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.ListPeople(access_service_pb2.ListPeopleRequest())
        assert ClientError.of(caught.value).reason == "ACCESS_NOT_RECORDED"
        forms.trouble = None
        await until_ready(application)
        assert len((await stub.ListPeople(access_service_pb2.ListPeopleRequest())).people) == 1
        await channel.close(grace=None)
        application.lifecycle.ask_to_stop()
        assert await running is ExitCode.CLEAN


async def test_what_waiting_cannot_mend_ends_the_process(tmp_path: Path) -> None:
    forms = Forms(tmp_path)
    forms.trouble = VigieError(CONFIG_INVALID, "the password is refused")
    config = configured(tmp_path)
    async with Application(config, target=TARGETS["audit"], forms=forms) as application:
        with pytest.raises(StartError, match="the password is refused"):
            await asyncio.wait_for(application.lifecycle.run(), 20)


async def test_one_process_of_a_target_works_in_a_data_directory(tmp_path: Path) -> None:
    config = configured(tmp_path)
    async with Application(config, target=TARGETS["registry"], forms=Forms(tmp_path / "1")):
        with pytest.raises(VigieError) as caught:
            async with Application(config, target=TARGETS["registry"], forms=Forms(tmp_path / "2")):
                pass
        assert caught.value.reason.name == "DATA_DIRECTORY_IN_USE"
        # Another service of this machine may share the directory: it has another lock.
        async with Application(config, target=TARGETS["access"], forms=Forms(tmp_path / "3")):
            pass


def loaded_by(code: str) -> set[str]:
    """Modules that a program of one line has loaded at its end."""
    program = f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines())


_EXTERNAL = ("aiokafka", "asyncpg", "minio")


def test_one_process_on_embedded_storage_loads_no_client_of_a_server(tmp_path: Path) -> None:
    found = loaded_by(
        "import asyncio\n"
        "from vigie.app import SECTIONS, Application\n"
        "from vigie.platform.config import load_config\n"
        f"(people := __import__('pathlib').Path({str(tmp_path)!r}, 'people.toml')).write_text('')\n"
        "settings = {'VIGIE_DATA__DIRECTORY': str(people.parent / 'data'),"
        " 'VIGIE_ACCESS__PEOPLE_FILE': str(people)}\n"
        "async def enter():\n"
        "    async with Application(load_config(None, SECTIONS, settings)):\n"
        "        pass\n"
        "asyncio.run(enter())"
    )
    assert not [name for name in found if name.partition(".")[0] in _EXTERNAL]
    assert "vigie.recording.module" in found


def test_a_process_carries_no_code_of_contexts_it_does_not_serve() -> None:
    found = loaded_by("import vigie.app")
    modules = {f"vigie.{context}.module" for context in NEEDS_OF}
    assert found & modules == {"vigie.access.module"}
    assert "vigie.evidence.cms" not in found
