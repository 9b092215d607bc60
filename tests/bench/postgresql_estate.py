"""What the measurements on PostgreSQL share: a database of their own, and months of index in it.

Rows are made by the server (``generate_series``): spans cut at quarters of a day, outages, ends of
runs, states of cameras for all days; rows of segments, which are by far the most, for as many of
the newest days as asked for.
"""

import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from servers_postgres import VARIABLE, PostgresServer, TestDatabase
from vigie.platform.database import migrate
from vigie.platform.database.postgresql.database import PostgresqlDatabase
from vigie.platform.eventlog.tables import CONSUMER_MIGRATIONS
from vigie.recording.index import tables
from vigie.recording.index.days import make_days

SCHEMA = "recording"
DAY_US = 86_400_000_000
T0_US = 1_772_323_200_000_000
_SEGMENTS_A_DAY = 2880


@dataclass(frozen=True)
class Filling:
    """How much index there is.

    Attributes:
        cameras: how many.
        days: of spans, outages, ends of runs.
        segment_days: of segments, the newest ones; 723,000 rows a day for 251 cameras.
        segment_cameras: how many cameras, the first ones, have rows of segments.
    """

    cameras: int
    days: int
    segment_days: int
    segment_cameras: int = 1_000_000


@dataclass(frozen=True)
class Made:
    """A database for one measurement."""

    test: TestDatabase
    database: PostgresqlDatabase


def server_of(environment: Mapping[str, str]) -> PostgresServer | None:
    """The server of ``VIGIE_TEST_POSTGRES``."""
    url = environment.get(VARIABLE)
    if not url:
        return None
    parts = urlsplit(url)
    assert parts.hostname
    return PostgresServer(
        parts.hostname, parts.port or 5432, unquote(parts.username or ""),
        unquote(parts.password or ""),
    )  # fmt: skip


@asynccontextmanager
async def bench_database(server: PostgresServer) -> AsyncIterator[Made]:
    """A database that is dropped afterwards."""
    name = f"vigie_bench_{secrets.token_hex(5)}"
    await server.execute(
        f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "password"
        file.write_text(server.password)
        test = TestDatabase(server, name, file)
        await test.execute(f"CREATE SCHEMA {SCHEMA}")
        login = test.login(SCHEMA, statement_timeout_seconds=1800)
        database = PostgresqlDatabase(login, migrates_itself=True)
        try:
            await migrate(database, CONSUMER_MIGRATIONS)
            await migrate(database, tables.MIGRATIONS)
            yield Made(test, database)
        finally:
            await database.close()
            await server.execute(f"DROP DATABASE {name} WITH (FORCE)")


# Runs of four hours with 20 s between them: six a day, 479 segments each.
_RUN_SEGMENTS = 479
_RUN_US = 4 * 3600 * 1_000_000
_PIECES = f"""
INSERT INTO recording_spans
SELECT md5('run' || c || '.' || r), first, last, 'cam-' || lpad(c::text, 5, '0'),
       begun + first * 30000000::bigint, begun + (last + 1) * 30000000::bigint
FROM generate_series({{low}}, {{high}} - 1) c
CROSS JOIN generate_series(0, {{days}} * 6 - 1) r
CROSS JOIN LATERAL (SELECT {T0_US} + r * {_RUN_US}::bigint AS begun) b
CROSS JOIN LATERAL (
    SELECT min(n) AS first, max(n) AS last FROM generate_series(0, {_RUN_SEGMENTS - 1}) n
    GROUP BY (begun + n * 30000000::bigint) / 21600000000
) p
"""
_OUTAGES = f"""
INSERT INTO recording_outages
SELECT 'o-' || c || '.' || r, end_us, 'cam-' || lpad(c::text, 5, '0'), end_us, end_us + 20000000,
       3, 'no packet for 10 s', 0
FROM generate_series({{low}}, {{high}} - 1) c
CROSS JOIN generate_series(0, {{days}} * 6 - 1) r
CROSS JOIN LATERAL (
    SELECT {T0_US} + r * {_RUN_US}::bigint + {_RUN_SEGMENTS} * 30000000::bigint AS end_us
) e
"""
_STATES = f"""
INSERT INTO recording_camera_states
SELECT 'cam-' || lpad(c::text, 5, '0'), 1, {T0_US}, 2, 'zone-1',
       '[["authorisations/a",{T0_US},{T0_US + 10_000 * DAY_US},0]]'
FROM generate_series({{low}}, {{high}} - 1) c
"""
_SEGMENTS = f"""
INSERT INTO recording_segments
SELECT 'footage/cam-' || lpad(c::text, 5, '0') || '/' || begun + n * 30000000::bigint || '.' || n
       || '.m4v',
       'cam-' || lpad(c::text, 5, '0'), md5('run' || c || '.' || r), n,
       begun + n * 30000000::bigint, begun + (n + 1) * 30000000::bigint, n * 2700000::bigint,
       2700000, 90000, 750, 15000000, md5(c || '.' || r || '.' || n) || md5('x' || n),
       'avc1.640028', 1920, 1080, NULL, repeat('f', 64), NULL
FROM generate_series({{low}}, {{high}} - 1) c
CROSS JOIN generate_series(({{days}} - {{segment_days}}) * 6, {{days}} * 6 - 1) r
CROSS JOIN LATERAL (SELECT {T0_US} + r * {_RUN_US}::bigint AS begun) b
CROSS JOIN generate_series(0, {_RUN_SEGMENTS - 1}) n
"""


async def fill(made: Made, filling: Filling) -> str:
    """Write the rows; what was written, one line."""
    begun = time.perf_counter()
    async with made.database.transaction() as connection:
        await make_days(connection, (T0_US + day * DAY_US for day in range(filling.days + 1)))
    connection = await made.test.server.connect(made.test.name)
    try:
        await connection.execute(f"SET search_path = {SCHEMA}")
        await connection.execute("SET synchronous_commit = off")
        step = 50
        for low in range(0, filling.cameras, step):
            high = min(low + step, filling.cameras)
            for statement in (_STATES, _PIECES, _OUTAGES, _SEGMENTS):
                most = filling.segment_cameras if statement is _SEGMENTS else filling.cameras
                await connection.execute(
                    statement.format(
                        low=low,
                        high=min(high, most),
                        days=filling.days,
                        segment_days=filling.segment_days,
                    )
                )
        await connection.execute("VACUUM ANALYZE")
        rows = await connection.fetchrow(
            "SELECT (SELECT count(*) FROM recording_spans) AS spans,"
            " (SELECT count(*) FROM recording_segments) AS segments,"
            " pg_database_size(current_database()) AS size"
        )
    finally:
        await connection.close()
    missing = filling.cameras * filling.days * _SEGMENTS_A_DAY - rows["segments"]
    return (
        f"{filling.cameras} cameras x {filling.days} days: {rows['spans']} spans,"
        f" {rows['segments']} segments of the last {filling.segment_days} days"
        f" ({missing} others left out), {rows['size'] / 1e9:.2f} GB,"
        f" made in {time.perf_counter() - begun:.0f} s"
    )
