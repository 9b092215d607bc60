"""Section [kafka], what clients are given, what topics are told; no broker."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from vigie.platform.errors import VigieError
from vigie.platform.eventlog import TopicSpec
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.failures import plainly, unavailable
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.eventlog.kafka.topicfile import render
from vigie.platform.eventlog.kafka.topics import Difference, settings_of
from vigie.topics import BROKER_TOPICS

ROOT = Path(__file__).resolve().parents[4]
SERVICES = ROOT / "services"


def sasl(folder: Path, **more: Any) -> KafkaConfig:
    password = folder / "password"
    password.write_text("s3cret\n")
    return KafkaConfig(
        bootstrap=["broker:9093"],
        security_protocol="SASL_SSL",
        username="vigie-ingest",
        password_file=password,
        **more,
    )


def test_the_embedded_log_loads_nothing_of_kafka() -> None:
    code = (
        "import sys, vigie.app, vigie.platform.eventlog.kafka, vigie.cli.topics\n"
        "print([name for name in sys.modules if name.startswith('aiokafka')])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={"PYTHONPATH": str(SERVICES)},
    )  # fmt: skip
    assert found.stdout.strip() == "[]"


def test_no_brokers_is_the_default() -> None:
    assert KafkaConfig().bootstrap == []
    assert KafkaConfig().suspicions() == []


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"min_in_sync": 3, "replication": 2}, "nothing could ever be stored"),
        ({"security_protocol": "SASL_SSL"}, "needs username and password_file"),
        ({"certificate_file": "a.pem"}, "belong together"),
        ({"bootstrap": ["broker"]}, "not host:port"),
        ({"bootstrap": ["broker:0"]}, "not host:port"),
        ({"topic_prefix": "a/b"}, "topic_prefix"),
        ({"sasl_mechanism": "GSSAPI"}, "sasl_mechanism"),
    ],
)
def test_what_cannot_work_is_refused(values: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        KafkaConfig(**values)


def test_doubtful_settings_are_told(tmp_path: Path) -> None:
    assert [one.key for one in KafkaConfig(bootstrap=["b:1"], min_in_sync=1).suspicions()] == [
        "min_in_sync"
    ]
    plain = sasl(tmp_path).model_copy(update={"security_protocol": "SASL_PLAINTEXT"})
    assert [one.key for one in plain.suspicions()] == ["security_protocol"]
    assert sasl(tmp_path).suspicions() == []


def test_clients_are_given_the_password_as_the_file_has_it_now(tmp_path: Path) -> None:
    config = sasl(tmp_path)
    clients = KafkaClients(config, "vigie-ingest")
    arguments = clients.arguments()
    assert arguments["sasl_mechanism"] == "SCRAM-SHA-512"
    assert arguments["sasl_plain_username"] == "vigie-ingest"
    assert arguments["sasl_plain_password"] == "s3cret"
    assert arguments["security_protocol"] == "SASL_SSL"
    assert arguments["ssl_context"].verify_mode.name == "CERT_REQUIRED"
    assert arguments["ssl_context"].check_hostname is True
    assert arguments["client_id"] == "vigie-ingest"
    assert config.password_file is not None
    config.password_file.write_text("rotated")
    assert clients.arguments()["sasl_plain_password"] == "rotated"
    assert "s3cret" not in repr(config)


def test_without_security_nothing_of_it_is_given() -> None:
    arguments = KafkaClients(KafkaConfig(bootstrap=["b:1"])).arguments()
    assert {name for name in arguments if name.startswith(("sasl", "ssl"))} == set()
    assert arguments["security_protocol"] == "PLAINTEXT"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"ca_file": Path("/nowhere/ca.pem")}, "kafka.ca_file"),
        (
            {"certificate_file": Path("/nowhere/c.pem"), "key_file": Path("/nowhere/k.pem")},
            "kafka.certificate_file",
        ),
    ],
)
def test_files_that_cannot_be_read_are_named(
    values: dict[str, Path], field: str, tmp_path: Path
) -> None:
    with pytest.raises(VigieError) as told:
        KafkaClients(sasl(tmp_path, **values)).arguments()
    assert (told.value.reason.name, told.value.field) == ("CONFIG_INVALID", field)


def test_a_password_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    config = sasl(tmp_path)
    assert config.password_file is not None
    config.password_file.unlink()
    with pytest.raises(VigieError, match=r"kafka\.password_file"):
        KafkaClients(config).arguments()


async def test_producers_wait_for_all_copies_and_consumers_see_what_is_committed() -> None:
    clients = KafkaClients(KafkaConfig(bootstrap=["b:1"]))
    producer, consumer = clients.producer("outbox.1"), clients.consumer("g", object)
    reader = clients.consumer()
    assert producer._sender._acks == -1
    assert producer._txn_manager.transactional_id == "outbox.1"
    assert reader._isolation_level == "read_committed"
    assert consumer._enable_auto_commit is False
    for client in (producer, consumer, reader):
        await client.stop()


def test_errors_are_one_line_and_say_where() -> None:
    clients = KafkaClients(KafkaConfig(bootstrap=["a:1", "b:2"]))

    class AuthenticationFailedError(Exception):
        """Named as aiokafka's."""

    told = unavailable(clients, "cannot append to segments", AuthenticationFailedError("why\nso"))
    assert told.message == (
        "cannot append to segments: the brokers refuse the name or the password (Kafka at a:1, b:2)"
    )
    assert plainly(RuntimeError("one\ntwo")) == "RuntimeError: one"
    assert plainly(RuntimeError()) == "RuntimeError"
    assert plainly(TimeoutError()) == "the brokers did not answer in time"


def test_the_file_of_topics_is_what_the_contexts_declare() -> None:
    file = (ROOT / "infra" / "kafka" / "topics.yaml").read_text(encoding="utf-8")
    wanted = render(BROKER_TOPICS, KafkaConfig())
    assert file == wanted, "write it anew: vigie topics show > infra/kafka/…"


def test_cameras_have_many_partitions_once_and_for_all() -> None:
    """They bound the number of ingest processes, and cannot be added later."""
    [cameras] = [spec for spec in BROKER_TOPICS if spec.name == "cameras"]
    assert cameras.partitions == 256
    assert cameras.compacted


def test_settings_of_topics() -> None:
    config = KafkaConfig()
    spec = TopicSpec("t", compacted=False, partitions=1, why="", retention_days=2)
    kept = settings_of(spec, config)
    assert kept["retention.ms"] == "172800000"
    assert kept["cleanup.policy"] == "delete"
    newest = settings_of(TopicSpec("t", compacted=True, partitions=1, why=""), config)
    assert newest["cleanup.policy"] == "compact"
    assert "retention.ms" not in newest
    for settings in (kept, newest):
        assert settings["min.insync.replicas"] == "2"
        assert settings["unclean.leader.election.enable"] == "false"
        assert settings["compression.type"] == "producer"
        assert int(settings["max.message.bytes"]) > config.max_event_bytes


@pytest.mark.parametrize(
    ("difference", "applied", "deletes"),
    [
        (Difference("t", "topic", "", "exists"), True, False),
        (Difference("t", "partitions", "3", "4"), False, False),
        (Difference("t", "replication", "1", "3"), False, False),
        (Difference("t", "retention.ms", "-1", "5"), True, True),
        (Difference("t", "retention.ms", "9", "5"), True, True),
        (Difference("t", "retention.ms", "5", "9"), True, False),
        (Difference("t", "cleanup.policy", "delete", "compact"), True, True),
        (Difference("t", "min.insync.replicas", "1", "2"), True, False),
    ],
)
def test_what_may_be_applied(difference: Difference, *, applied: bool, deletes: bool) -> None:
    assert (difference.can_be_applied, difference.deletes) == (applied, deletes)
