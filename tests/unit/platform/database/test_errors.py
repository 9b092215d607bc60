"""What an error of PostgreSQL means: a machine that waiting may help, or the caller's mistake."""

import errno
import socket
import ssl
import subprocess
import sys
import textwrap
from pathlib import Path

import asyncpg
import pytest
import sqlalchemy as sa

from vigie.platform.database.postgresql.errors import (
    as_data_error,
    failure_of,
)


def server_error(code: str, message: str = "said the server\nDETAIL: more") -> sa.exc.DBAPIError:
    """An error as SQLAlchemy hands it on."""
    error = asyncpg.PostgresError.new({"C": code, "M": message, "S": "ERROR", "V": "ERROR"})
    adapted = Exception(message)
    adapted.__cause__ = error
    return sa.exc.DBAPIError("SELECT 1", None, adapted)


@pytest.mark.parametrize(
    "code",
    ["08006", "08003", "28P01", "28000", "3D000", "40001", "40P01", "42501", "42P01", "53100",
     "53200", "53300", "55P03", "57014", "57P01", "57P03", "58030", "XX001", "25006", "25P03"],
)  # fmt: skip
def test_failures_of_machine_and_deployment_are_told_in_one_line(code: str) -> None:
    failure = failure_of(server_error(code))
    assert failure is not None
    assert failure.code == code
    assert "said the server" in failure.message
    assert "\n" not in failure.message
    error = failure.error("db:5432/vigie (role vigie_audit)")
    assert error.reason.name == "DATABASE_UNAVAILABLE"
    assert error.message.startswith("the database db:5432/vigie (role vigie_audit) cannot be used:")


@pytest.mark.parametrize("code", ["23505", "23502", "22003", "22021", "42601", "42883", "0A000"])
def test_mistakes_of_the_caller_are_not_the_machines(code: str) -> None:
    assert failure_of(server_error(code)) is None


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed"), "Connection refused"),
        (OSError(errno.EHOSTUNREACH, "x"), "No route to host"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "cannot be resolved"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong"), "TLS failed"),
        (TimeoutError(), "did not answer in time"),
    ],
)
def test_the_network_is_the_machines(error: OSError, expected: str) -> None:
    failure = failure_of(error)
    assert failure is not None
    assert expected in failure.message
    assert failure.is_lost


@pytest.mark.parametrize(
    ("code", "repeats"),
    [("40001", True), ("40P01", True), ("08006", False), ("40003", False), ("57014", False)],
)
def test_only_what_was_undone_for_a_passing_reason_is_repeated(
    code: str,
    repeats: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    failure = failure_of(server_error(code))
    assert failure is not None
    assert failure.may_be_repeated is repeats


def test_a_value_that_fits_no_column_is_data_wherever_it_was_found() -> None:
    found_here = Exception("value out of range")
    found_here.__cause__ = asyncpg.DataError("value out of int64 range")
    error = sa.exc.InterfaceError("INSERT", {"a": 1 << 70}, found_here)
    assert failure_of(error) is None
    assert isinstance(as_data_error(error), sa.exc.DataError)
    assert isinstance(as_data_error(server_error("22003")), sa.exc.DataError)
    assert as_data_error(server_error("23505")) is None


def test_an_embedded_product_loads_nothing_of_postgresql(tmp_path: Path) -> None:
    """It costs memory and time at every start, for nothing."""
    program = textwrap.dedent(
        f"""
        import asyncio, pathlib, sys
        import vigie.app, vigie.schemas
        from vigie.platform.database import DatabaseConfig, migrate, open_database
        from vigie.recording.index.tables import MIGRATIONS

        async def use():
            database = await open_database(pathlib.Path({str(tmp_path / "vigie.db")!r}))
            await migrate(database, MIGRATIONS)
            await database.close()

        asyncio.run(use())
        loaded = [name for name in ("asyncpg", "sqlalchemy.ext.asyncio",
                  "vigie.platform.database.postgresql") if name in sys.modules]
        print(loaded)
        """
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
