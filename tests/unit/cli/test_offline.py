"""Commands that work on the data directory of this machine, without a server."""

import asyncio
import json
import stat
from contextlib import closing
from pathlib import Path
from sqlite3 import connect

import pytest

from unit.cli.conftest import Vigie
from unit.cli.fake_server import FakeServer
from vigie.access.issuer import load_or_create_key
from vigie.access.keys import TokenVerifier
from vigie.access.module import development_issuer
from vigie.access.settings import AccessConfig
from vigie.audit.recorder import ACCESSES_TOPIC
from vigie.audit.v1 import events_pb2 as audit_events
from vigie.cli.exits import Exit
from vigie.cli.installation import looked_at, opened, read_config
from vigie.common.v1 import access_pb2
from vigie.ingest.v1 import events_pb2 as ingest_events
from vigie.platform.clock import SystemWallClock
from vigie.platform.database.lock import DataDirectoryLock
from vigie.platform.eventlog import Position, Quarantine, StoredEvent, Unprocessable, make_event


@pytest.fixture
def data(tmp_path: Path) -> Path:
    directory = tmp_path / "data"
    directory.mkdir()
    return directory


async def put_in_quarantine(data: Path) -> None:
    async with opened(read_config(None, data)) as found:
        event = make_event(
            ingest_events.SegmentEvent(),
            key="cam-01",
            source="test",
            wall_clock=found.clock,
            event_id="0198c1de-0000-7000-8000-000000000000",
        )
        stored = StoredEvent("segments", Position(0, 7), event)
        async with found.database.transaction() as connection:
            await Quarantine(found.database, found.clock, found.event_log).add(
                connection, "recording-index", stored, Unprocessable("SEGMENT_INVALID", "no run")
            )


async def recorded(data: Path) -> list[audit_events.AccessRecord]:
    async with looked_at(read_config(None, data)) as found:
        return [
            audit_events.AccessRecord.FromString(stored.event.value or b"")
            async for stored in found.event_log.read(ACCESSES_TOPIC)
        ]


def test_a_token_is_one_the_installation_accepts(vigie: Vigie, data: Path) -> None:
    outcome = vigie("token", "create", "a-martin", "--for", "30m", "--data", str(data))
    token = outcome.out.strip()
    clock = SystemWallClock()
    issuer = development_issuer(AccessConfig(), data, clock).issuer()
    verifier = TokenVerifier([issuer], audience="vigie", leeway_seconds=0)
    assert verifier.verify(token, now_us=clock.now_us()).subject == "a-martin"
    assert "refused" in outcome.err  # there is no people file


def test_a_token_file_is_for_its_owner_only(vigie: Vigie, data: Path, tmp_path: Path) -> None:
    file = tmp_path / "token"
    outcome = vigie("token", "create", "x", "--data", str(data), "--output", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text(encoding="ascii").strip() not in outcome.out + outcome.err
    assert vigie("token", "create", "x", "--data", str(data), "-o", str(file)).code == Exit.USAGE


@pytest.mark.parametrize("line", ["token create x", "fsck", "recording reindex", "quarantine list"])
def test_a_mistyped_data_directory_is_not_made(line: str, vigie: Vigie, tmp_path: Path) -> None:
    outcome = vigie(*line.split(), "--data", str(tmp_path / "mistyped"))
    assert outcome.code == Exit.USAGE
    assert not (tmp_path / "mistyped").exists()


def test_a_key_that_others_can_read_is_refused(vigie: Vigie, data: Path) -> None:
    load_or_create_key(data / "access")
    (data / "access" / "issuer-key.json").chmod(0o644)
    outcome = vigie("token", "create", "x", "--data", str(data))
    assert outcome.code == Exit.USAGE
    assert "chmod 600" in outcome.err


def test_the_quarantine_is_listed_and_shown(vigie: Vigie, data: Path) -> None:
    asyncio.run(put_in_quarantine(data))
    (item,) = vigie("--json", "quarantine", "list", "--data", str(data)).json()
    assert (item["group"], item["reason"], item["offset"]) == (
        "recording-index", "SEGMENT_INVALID", 7,
    )  # fmt: skip
    assert isinstance(item["content"], dict)
    text = vigie("quarantine", "show", str(item["number"]), "--data", str(data)).out
    assert "no run" in text
    assert vigie("quarantine", "show", "99", "--data", str(data)).code == Exit.NOT_FOUND


@pytest.mark.parametrize(
    ("action", "kind", "left"), [("replay", "MODIFICATION", 1), ("discard", "ERASURE", 0)]
)
def test_what_is_done_to_the_quarantine_is_on_record(
    action: str, kind: str, left: int, vigie: Vigie, data: Path
) -> None:
    asyncio.run(put_in_quarantine(data))
    arguments = ["quarantine", action, "1", "--reason", "corrigé en 1.2", "--data", str(data)]
    outcome = vigie(*arguments, *(["--yes"] if action == "discard" else []))
    assert outcome.code == Exit.OK, outcome
    items = vigie("--json", "quarantine", "list", "--data", str(data)).json()
    assert len(items) == left
    assert all(item["replay_requested"] for item in items)
    (record,) = asyncio.run(recorded(data))
    assert record.method.endswith(f"quarantine/{action}")
    assert record.purpose == "corrigé en 1.2"
    assert record.kind == access_pb2.RecordKind.Value(f"RECORD_KIND_{kind}")
    put_away, last = vigie("--json", "quarantine", "history", "--data", str(data)).json()
    assert put_away["quarantined"]["reason"] == "SEGMENT_INVALID"
    word = last["replay_requested" if left else "resolved"]
    assert (word["actor"], word["purpose"]) == (record.subject, "corrigé en 1.2")
    assert last["case_id"] == put_away["case_id"]
    still_open = vigie("--json", "quarantine", "history", "--open", "--data", str(data)).json()
    assert len(still_open) == 2 * left


def test_the_history_of_a_case_is_shown(vigie: Vigie, data: Path) -> None:
    asyncio.run(put_in_quarantine(data))
    (item,) = vigie("--json", "quarantine", "list", "--data", str(data)).json()
    line = ("quarantine", "history", "--data", str(data), "--case")
    text = vigie(*line, item["case"]).out
    assert "SEGMENT_INVALID" in text
    assert "put away" in text
    assert "SEGMENT_INVALID" not in vigie(*line, "another").out


def test_discarding_asks_first(vigie: Vigie, data: Path) -> None:
    asyncio.run(put_in_quarantine(data))
    line = ("quarantine", "discard", "1", "--reason", "x", "--data", str(data))
    assert vigie(*line, stdin="n\n").code != Exit.OK
    assert len(vigie("--json", "quarantine", "list", "--data", str(data)).json()) == 1
    assert asyncio.run(recorded(data)) == []


def test_while_the_product_runs_one_may_look_and_not_change(vigie: Vigie, data: Path) -> None:
    asyncio.run(put_in_quarantine(data))
    assert vigie("recording", "reindex", "--data", str(data)).code == Exit.OK
    with DataDirectoryLock(data):
        assert vigie("fsck", "--data", str(data)).code in {Exit.OK, Exit.CHECK_FAILED}
        assert vigie("quarantine", "list", "--data", str(data)).code == Exit.OK
        for line in ("recording reindex", "quarantine replay 1 --reason x"):
            outcome = vigie(*line.split(), "--data", str(data))
            assert outcome.code == Exit.CONFLICT
            assert "DATA_DIRECTORY_IN_USE" in outcome.err


def test_fsck_of_an_empty_installation_is_sound(vigie: Vigie, data: Path) -> None:
    vigie("recording", "reindex", "--data", str(data))
    outcome = vigie("--json", "fsck", "--deep", "--data", str(data))
    assert outcome.code == Exit.OK
    (report,) = outcome.json()
    assert report["clean"]


@pytest.mark.parametrize(
    ("table", "version", "said"),
    [
        ("recording_schema_version", "0004", "of an older version: start the product on them"),
        ("recording_schema_version", "9999", "of a newer version"),
        ("consumer_schema_version", "0001", "of an older version"),
        ("eventlog_schema_version", "0001", "of an older version"),
    ],
)
def test_data_of_another_version_are_not_looked_at(
    table: str, version: str, said: str, vigie: Vigie, data: Path
) -> None:
    """As after a restore, or with a new program beside one that still runs."""
    vigie("recording", "reindex", "--data", str(data))
    with closing(connect(data / "vigie.db")) as database:
        assert database.execute(f"UPDATE {table} SET version_num = ?", (version,)).rowcount == 1
        database.commit()
    outcome = vigie("fsck", "--data", str(data))
    assert outcome.code == Exit.USAGE
    assert said in " ".join(outcome.err.split())


def test_fsck_of_data_without_an_index_says_so(vigie: Vigie, data: Path) -> None:
    asyncio.run(put_in_quarantine(data))  # the log is there, recording was never started
    for more in ((), ("--packages",)):
        outcome = vigie("fsck", *more, "--data", str(data))
        assert outcome.code == Exit.USAGE
        assert "start the product on them once" in " ".join(outcome.err.split())


def test_data_beside_a_store_elsewhere_are_looked_at_for_their_version(
    vigie: Vigie, data: Path, tmp_path: Path
) -> None:
    """Before anything is opened, which would bring the log up to date."""
    vigie("recording", "reindex", "--data", str(data))
    with closing(connect(data / "vigie.db")) as database:
        database.execute("UPDATE recording_schema_version SET version_num = '0004'")
        database.commit()
    key = tmp_path / "key"
    key.write_text("secret")
    key.chmod(0o600)
    file = tmp_path / "vigie.toml"
    file.write_text(
        f'[data]\ndirectory = "{data}"\n[s3]\nendpoint = "http://127.0.0.1:1"\nbucket = "b-1"\n'
        f'access_key_file = "{key}"\nsecret_key_file = "{key}"\n'
    )
    outcome = vigie("fsck", "--config", str(file))
    assert outcome.code == Exit.USAGE
    assert "of an older version" in " ".join(outcome.err.split())


def test_fsck_tells_what_stands_in_quarantine(vigie: Vigie, data: Path) -> None:
    vigie("recording", "reindex", "--data", str(data))
    asyncio.run(put_in_quarantine(data))
    outcome = vigie("fsck", "--data", str(data))
    assert outcome.code == Exit.CHECK_FAILED
    assert "I6 ERROR" in outcome.out


def test_a_wrong_configuration_names_every_mistake(vigie: Vigie, tmp_path: Path) -> None:
    file = tmp_path / "vigie.toml"
    file.write_text('[grpc]\nlistenn = ["x"]\n[dta]\n', encoding="utf-8")
    outcome = vigie("config", "check", "--config", str(file))
    assert outcome.code == Exit.CHECK_FAILED
    assert f"{file}:2" in outcome.out
    assert "did you mean" in outcome.out
    assert "dta" in outcome.out
    assert vigie("config", "show", "--config", str(file)).code == Exit.USAGE
    levels = {line["level"] for line in vigie("--json", "config", "check", "-c", str(file)).json()}
    assert levels == {"error"}


def test_the_configuration_in_force_says_where_it_comes_from(vigie: Vigie) -> None:
    outcome = vigie("config", "show", env={"VIGIE_DATA__DIRECTORY": "/srv/vigie"})
    assert 'directory = "/srv/vigie"  # environment VIGIE_DATA__DIRECTORY' in outcome.out
    (document,) = vigie("--json", "config", "show").json()
    assert set(document) == {"sections", "origins"}


def test_the_reference_has_every_section(vigie: Vigie) -> None:
    from vigie.app import SECTIONS

    text = vigie("config", "reference").out
    assert all(f"`[{name}]`" in text for name in SECTIONS)


def test_versions(vigie: Vigie, fake: FakeServer) -> None:
    assert "grpcio" in vigie("version").out
    assert set(json.loads(vigie("--json", "version").out)) >= {"vigie", "python", "protobuf"}
    assert not fake.calls


def test_simcam_takes_no_password_argument_and_says_what_is_wrong(vigie: Vigie) -> None:
    assert vigie("simcam", "--password", "x").code == Exit.USAGE
    assert vigie("simcam", "--codec", "vp9").code == Exit.USAGE
    outcome = vigie("simcam", "--cameras", "1", "--frames-per-second", "many")
    assert outcome.code == Exit.FAILED
