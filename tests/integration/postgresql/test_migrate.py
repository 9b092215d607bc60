"""`vigie migrate`: schemas, roles and rights on a real PostgreSQL."""

import asyncio
import json
import secrets
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa
from typer.testing import CliRunner

from postgres_installation import Installation
from vigie import app as application
from vigie.cli.main import app
from vigie.platform.database import DatabaseConfig, MigrationSet, migrate, schema_differences
from vigie.platform.database.postgresql.administration import Administration, scram_verifier
from vigie.platform.database.postgresql.connect import login_of
from vigie.platform.database.postgresql.database import PostgresqlDatabase, open_postgresql
from vigie.platform.errors import VigieError
from vigie.schemas import SCHEMAS


async def as_service(installation: Installation, context: str) -> asyncpg.Connection:
    """A connection by the role of a service, without the port around it."""
    config = installation.config
    file = config.password_file_of(context)
    assert file is not None
    return await asyncpg.connect(
        host=config.address.host,
        port=config.address.port,
        database=config.address.name,
        user=config.role_of(context),
        password=file.read_text().strip(),
    )


async def test_a_second_run_has_nothing_to_do(migrated: Installation) -> None:
    told: list[str] = []
    again = Administration(
        migrated.config, migrated.server.user, migrated.administrator_file, tell=told.append
    )
    outcomes = await again.apply(SCHEMAS)
    assert all(done.before == done.after for done in outcomes)
    assert told == []


async def test_every_service_finds_its_tables_as_the_program_means_them(
    untouched: Installation,
) -> None:
    for context, chains in SCHEMAS.items():
        database = await open_postgresql(untouched.config, context)
        try:
            for chain in chains:
                done = await migrate(database, chain)
                assert done.before == done.after
        finally:
            await database.close()


async def test_a_role_reads_and_writes_its_own_rows_and_nothing_else(
    untouched: Installation,
) -> None:
    """For each pair of contexts: not one table of another can be read, by whatever name."""
    for context in SCHEMAS:
        connection = await as_service(untouched, context)
        try:
            own = f"SELECT count(*) FROM {context}.consumer_position"
            assert await connection.fetchval(own) == 0
            tables = await connection.fetch(
                "SELECT n.nspname AS schema, c.relname AS name FROM pg_class c"
                " JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.relkind IN ('r', 'p', 'S', 'v') AND n.nspname = ANY($1)",
                [other for other in SCHEMAS if other != context],
            )
            assert len(tables) > 10
            for table in tables:
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.fetch(f'SELECT * FROM {table["schema"]}."{table["name"]}"')
                with pytest.raises(asyncpg.InsufficientPrivilegeError):
                    await connection.execute(f'DELETE FROM {table["schema"]}."{table["name"]}"')
        finally:
            await connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE recording.own (a int)",
        "CREATE TABLE public.own (a int)",
        "CREATE TEMPORARY TABLE own (a int)",
        "CREATE SCHEMA own",
        "CREATE ROLE own",
        "ALTER TABLE recording_segments ADD COLUMN own int",
        "DROP TABLE recording_segments",
        "TRUNCATE recording_destructions",
        "CREATE INDEX own ON recording_holds (hold)",
        "UPDATE recording_schema_version SET version_num = '9999'",
        "DELETE FROM schema_programs",
        "ALTER TABLE recording_holds DISABLE TRIGGER ALL",
        "DROP FUNCTION recording_make_days(integer[])",
        "SET ROLE {prefix}recording_owner",
        "SET ROLE {prefix}audit",
    ],
)
async def test_a_service_cannot_change_the_schema(untouched: Installation, statement: str) -> None:
    connection = await as_service(untouched, "recording")
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement.format(prefix=untouched.config.role_prefix))
    finally:
        await connection.close()


async def test_a_service_has_nothing_to_give_away(untouched: Installation) -> None:
    connection = await as_service(untouched, "recording")
    try:
        # A grant by one who may not is a warning, and grants nothing.
        await connection.execute("GRANT SELECT ON recording_holds TO PUBLIC")
        query = "SELECT has_table_privilege('public', 'recording_holds', 'SELECT')"
        assert not await connection.fetchval(query)
    finally:
        await connection.close()


async def test_access_records_are_never_changed_whoever_tries(migrated: Installation) -> None:
    columns = ", ".join(
        f"'{value}'" if isinstance(value, str) else str(value)
        for value in (
            "r1", 0, 1, "", "", 1, "", 1, "", "", "", "", 1, 1, "", "NULL", "NULL", "", "",
        )
    ).replace("'NULL'", "NULL")  # fmt: skip
    await migrated.execute(f"INSERT INTO audit.audit_accesses VALUES ({columns})")
    with pytest.raises(asyncpg.RestrictViolationError, match="never changed"):
        await migrated.execute("UPDATE audit.audit_accesses SET subject = 'another'")


async def test_strangers_of_the_server_are_no_guests(migrated: Installation) -> None:
    stranger = f"{migrated.config.role_prefix}stranger"
    await migrated.server.execute(f"CREATE ROLE {stranger} LOGIN PASSWORD 'open-sesame'")
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(
            host=migrated.server.host, port=migrated.server.port, user=stranger,
            password="open-sesame", database=migrated.config.address.name,
        )  # fmt: skip


async def test_runs_at_the_same_time_take_turns(bare: Installation) -> None:
    done = await asyncio.gather(*(bare.administration.apply(SCHEMAS) for _ in range(4)))
    first = [outcome for run in done for outcome in run if outcome.before != outcome.after]
    assert len(first) == sum(len(chains) for chains in SCHEMAS.values())


async def test_an_administrator_without_superpowers_can_do_it(bare: Installation) -> None:
    """Hosted databases give no superuser: making roles and databases must be enough."""
    name = f"{bare.config.role_prefix}administrator"
    await bare.server.execute(f"CREATE ROLE {name} LOGIN CREATEDB CREATEROLE PASSWORD 'abc'")
    file = bare.administrator_file.with_name("plain.password")
    file.write_text("abc")
    outcomes = await Administration(bare.config, name, file).apply(SCHEMAS)
    assert {done.before for done in outcomes} == {None}
    assert await Administration(bare.config, name, file).apply(SCHEMAS)
    database = await open_postgresql(bare.config, "recording")
    try:
        for chain in SCHEMAS["recording"]:
            await migrate(database, chain)
    finally:
        await database.close()


async def test_one_role_for_all_contexts(bare: Installation) -> None:
    name = f"{bare.config.role_prefix}all"
    await bare.server.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'abc'")
    file = bare.administrator_file.with_name("all.password")
    file.write_text("abc")
    address = bare.config.address
    config = DatabaseConfig(
        url=f"postgresql://{name}@{address.host}:{address.port}/{address.name}",
        role_prefix=bare.config.role_prefix,
        password_file=file,
    )
    await Administration(config, bare.server.user, bare.administrator_file).apply(SCHEMAS)
    for context, chains in SCHEMAS.items():
        database = await open_postgresql(config, context)
        try:
            for chain in chains:
                await migrate(database, chain)
        finally:
            await database.close()


async def test_a_database_that_sorts_by_a_language_is_refused(bare: Installation) -> None:
    name = bare.config.address.name
    rows = await bare.server.execute(
        "SELECT collname FROM pg_collation WHERE collprovider = 'i' AND collname = 'fr-x-icu'"
    )
    if not rows:
        pytest.skip("the server has no collation by language")
    await bare.server.execute(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
        " LOCALE_PROVIDER icu ICU_LOCALE 'fr'"
    )
    with pytest.raises(VigieError, match=r"CONFIG_INVALID.*collation C"):
        await bare.administration.apply(SCHEMAS)


async def test_a_new_password_of_a_service_holds_from_its_next_connection(
    migrated: Installation,
) -> None:
    """Rotation: the file changes, `vigie migrate` sets it, the service is not restarted."""
    database = await open_postgresql(migrated.config, "audit")
    file = migrated.config.password_file_of("audit")
    assert file is not None
    try:
        await database.check()
        file.write_text(secrets.token_urlsafe(18))
        await migrated.administration.apply({"audit": SCHEMAS["audit"]})
        await database.check()
        await migrated.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE usename = '{migrated.config.role_of('audit')}'"
        )
        await database.check()
        file.write_text("wrong")
        await migrated.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE usename = '{migrated.config.role_of('audit')}'"
        )
        with pytest.raises(VigieError, match="the role or its password is refused"):
            await database.check()
    finally:
        await database.close()


def test_a_verifier_is_that_of_rfc_7677() -> None:
    """The example of RFC 7677, section 3: salt, 4096 rounds, password `pencil`."""
    import base64

    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    assert scram_verifier("pencil", salt) == (
        "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
    )


# --- versions ------------------------------------------------------------------------------------

FIRST = """
import sqlalchemy as sa

revision = "0001"
down_revision = None


def upgrade(op):
    op.create_table("sample_thing", sa.Column("name", sa.String, primary_key=True))
"""
SECOND = """
import sqlalchemy as sa

revision = "0002"
down_revision = "0001"


def upgrade(op):
    op.add_column("sample_thing", sa.Column("note", sa.String))
"""
THIRD = """
import sqlalchemy as sa

revision = "0003"
down_revision = "0002"
works_with = "0003"


def upgrade(op):
    op.drop_column("sample_thing", "name")
"""
OLD_THING = sa.Table("sample_thing", sa.MetaData(), sa.Column("name", sa.String))


def chain(folder: Path, *texts: str) -> MigrationSet:
    for number, text in enumerate(texts, start=1):
        file = folder / "versions" / f"{number:04}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return MigrationSet("sample", folder)


async def test_programs_of_both_versions_run_on_an_expanded_schema(
    bare: Installation, tmp_path: Path
) -> None:
    """A rolling update: schema first; the version before goes on, and may start again."""
    old, new = chain(tmp_path / "old", FIRST), chain(tmp_path / "new", FIRST, SECOND)
    contracted = chain(tmp_path / "third", FIRST, SECOND, THIRD)
    await bare.administration.apply({"registry": [old]})
    running = await open_postgresql(bare.config, "registry")
    insert = sa.insert(OLD_THING)
    try:
        await migrate(running, old)
        with pytest.raises(VigieError, match=r"SCHEMA_OUTDATED.*0001.*0002.*vigie migrate"):
            await migrate(running, new)
        await running.write(lambda connection: connection.execute(insert, {"name": "before"}))
        await bare.administration.apply({"registry": [new]})
        # The same process, its statements prepared on the schema as it was:
        await running.write(lambda connection: connection.execute(insert, {"name": "meanwhile"}))
        query = sa.select(OLD_THING.c.name)
        names = await running.read(lambda connection: connection.scalars(query))
        assert sorted(names.all()) == ["before", "meanwhile"]
        assert (await migrate(running, old)).after == "0002"
        assert (await migrate(running, new)).after == "0002"
        await bare.administration.apply({"registry": [contracted]})
        for one in (old, new):
            with pytest.raises(VigieError, match=r"DATA_NEWER_THAN_PROGRAM.*0003"):
                await migrate(running, one)
    finally:
        await running.close()


async def test_an_older_migrate_refuses_a_newer_schema(bare: Installation, tmp_path: Path) -> None:
    await bare.administration.apply({"registry": [chain(tmp_path / "new", FIRST, SECOND)]})
    with pytest.raises(VigieError, match=r"DATA_NEWER_THAN_PROGRAM.*0002.*0001"):
        await bare.administration.apply({"registry": [chain(tmp_path / "old", FIRST)]})


async def test_tables_differ_in_nothing_from_what_the_program_means(
    untouched: Installation,
) -> None:
    from vigie.audit.tables import METADATA as AUDIT
    from vigie.evidence.tables import METADATA as EVIDENCE
    from vigie.platform.eventlog.tables import CONSUMER_METADATA
    from vigie.recording.index.tables import METADATA as RECORDING
    from vigie.registry.tables import METADATA as REGISTRY

    meant = {
        "audit": AUDIT, "evidence": EVIDENCE, "recording": RECORDING, "registry": REGISTRY,
        "consumer": CONSUMER_METADATA,
    }  # fmt: skip
    for context, chains in SCHEMAS.items():
        database = PostgresqlDatabase(login_of(untouched.config, context))
        try:
            for each in chains:
                if each.context in meant:
                    found = await schema_differences(database, each, meant[each.context])
                    assert found == [], context
        finally:
            await database.close()


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def command(bare: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setitem(application.SECTIONS, "database", DatabaseConfig)
    monkeypatch.setenv("VIGIE_LANGUAGE", "en")
    file = tmp_path / "vigie.toml"
    file.write_text(
        f'[database]\nurl = "{bare.config.url}"\nrole_prefix = "{bare.config.role_prefix}"\n'
        f'password_directory = "{bare.config.password_directory}"\n'
    )
    return ["--json", "migrate", "--config", str(file), "--administrator", bare.server.user,
            "--password-file", str(bare.administrator_file)]  # fmt: skip


def test_the_command_says_what_is_pending_and_does_it(
    command: list[str], bare: Installation
) -> None:
    shell = CliRunner()
    missing = shell.invoke(app, [*command, "--check"])
    assert missing.exit_code == 6, missing.output  # the database itself is missing
    assert "there is no such database" in missing.output
    done = shell.invoke(app, command)
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert {line["schema"] for line in lines} == set(SCHEMAS)
    assert {line["before"] for line in lines} == {None}
    checked = shell.invoke(app, [*command, "--check"])
    assert checked.exit_code == 0, checked.output
    states = [json.loads(line)["state"] for line in checked.stdout.splitlines()]
    assert set(states) == {"current"}
    for file in Path(str(bare.config.password_directory)).iterdir():
        assert file.read_text().strip() not in done.output + checked.output


def test_the_command_finds_tables_that_are_behind(
    command: list[str], bare: Installation, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from vigie import schemas

    shell = CliRunner()
    behind = {"registry": [chain(tmp_path / "old", FIRST)]}
    monkeypatch.setattr(schemas, "SCHEMAS", behind)
    assert shell.invoke(app, command).exit_code == 0
    ahead = {"registry": [chain(tmp_path / "new", FIRST, SECOND)]}
    monkeypatch.setattr(schemas, "SCHEMAS", ahead)
    found = shell.invoke(app, [*command, "--check"])
    assert (found.exit_code, json.loads(found.stdout)["state"]) == (7, "pending")


def test_the_command_names_what_is_wrong_in_one_line(
    command: list[str], bare: Installation
) -> None:
    bare.administrator_file.write_text("wrong")
    refused = CliRunner().invoke(app, command)
    assert refused.exit_code == 2
    assert "CONFIG_INVALID" in refused.output
    assert "the role or its password is refused" in refused.output
    assert "Traceback" not in refused.output
    bare.administrator_file.unlink()
    missing = CliRunner().invoke(app, command)
    assert "cannot be read: No such file or directory" in missing.output


def test_an_embedded_database_needs_no_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(application.SECTIONS, "database", DatabaseConfig)
    monkeypatch.setenv("VIGIE_LANGUAGE", "en")
    found = CliRunner().invoke(app, ["migrate"])
    text = " ".join(found.output.split())
    assert (found.exit_code, "brought up to date at every start" in text) == (0, True)
