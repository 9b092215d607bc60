from pathlib import Path

import pytest
from pydantic import ValidationError

from vigie.platform.database.settings import DatabaseAddress, DatabaseConfig, parse_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgresql://db/vigie", DatabaseAddress("db", 5432, "vigie", None)),
        ("postgresql://me@db:6000/v%20x", DatabaseAddress("db", 6000, "v x", "me")),
        ("postgres://[::1]:5433/vigie", DatabaseAddress("::1", 5433, "vigie", None)),
    ],
)
def test_a_url_is_taken_apart(url: str, address: DatabaseAddress) -> None:
    assert parse_url(url) == address


def test_an_address_reads_as_people_write_it() -> None:
    assert str(parse_url("postgresql://[::1]/vigie")) == "[::1]:5432/vigie"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"url": "mysql://db/vigie"}, "must begin with postgresql://"),
        ({"url": "postgresql://me:secret@db/vigie"}, "must not carry the password"),
        ({"url": "postgresql://db/vigie?sslmode=require"}, "takes no parameters"),
        ({"url": "postgresql://db"}, "host:port/database"),
        ({"url": "postgresql:///vigie"}, "host:port/database"),
        ({"url": "postgresql://db:port/vigie"}, "Port"),
        ({"url": "postgresql://db/vigie", "password_file": "p"}, "give password_directory"),
        ({"url": "postgresql://me@db/vigie", "password_directory": "p"}, "give password_file"),
        ({"password_file": "p"}, "no url"),
        ({"url": "postgresql://db/vigie", "ca_file": "ca", "tls": False}, "remove one of them"),
        ({"url": "postgresql://db/vigie", "certificate_file": "c"}, "go together"),
        ({"url": "postgresql://db/vigie", "role_prefix": 'x"; --'}, "role_prefix"),
        ({"url": "postgresql://db/vigie", "pool_size": 0}, "pool_size"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError) as refused:
        DatabaseConfig(**values)  # type: ignore[arg-type] - wrong on purpose
    assert message in str(refused.value)
    assert "me:secret" not in refused.value.errors(include_input=False).__repr__()


def test_without_a_user_each_context_has_its_own_role_and_password() -> None:
    config = DatabaseConfig(url="postgresql://db/vigie", password_directory=Path("passwords"))
    assert config.role_of("audit") == "vigie_audit"
    assert config.owner_of("audit") == "vigie_audit_owner"
    assert config.password_file_of("audit") == Path("passwords/audit")


def test_with_a_user_all_contexts_share_it_and_that_is_doubted() -> None:
    config = DatabaseConfig(url="postgresql://me@localhost/vigie", password_file=Path("p"))
    assert (config.role_of("audit"), config.password_file_of("audit")) == ("me", Path("p"))
    assert [doubt.key for doubt in config.suspicions()] == ["url"]


def test_plain_text_across_a_network_is_doubted() -> None:
    far = DatabaseConfig(url="postgresql://db.example/vigie")
    assert [doubt.key for doubt in far.suspicions()] == ["tls"]
    assert not far.encrypts
    for safe in ({"tls": True}, {"ca_file": "ca.pem"}):
        config = DatabaseConfig(url="postgresql://db.example/vigie", **safe)  # type: ignore[arg-type]
        assert (config.encrypts, config.suspicions()) == (True, ())
    assert DatabaseConfig(url="postgresql://127.0.0.1/vigie").suspicions() == ()
    assert DatabaseConfig().suspicions() == ()
