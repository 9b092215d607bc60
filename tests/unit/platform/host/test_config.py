import copy
import json
import pickle
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import Field

from vigie.platform.config import (
    Config,
    ConfigError,
    ConfigSection,
    Secret,
    Suspicion,
    load_config,
    reference,
    render,
)
from vigie.platform.grpc.settings import GrpcConfig
from vigie.platform.http import HttpConfig


class Inner(ConfigSection):
    """Inner table."""

    key_file: Path | None = Field(default=None, description="A file.")
    password: Secret | None = Field(default=None, description="A secret.")


class Outer(ConfigSection):
    """A section for tests."""

    timeout_seconds: float = Field(default=5.0, gt=0, description="How long.")
    max_count: int = Field(default=3, description="How many.")
    names: tuple[str, ...] = Field(default=(), description="Names.")
    label: str = Field(default="", description="A text.")
    inner: Inner = Field(default=Inner(), description="A table.")

    def suspicions(self) -> Sequence[Suspicion]:
        if self.max_count == 0:
            return [Suspicion("max_count", "allows nothing", "write 1 or more")]
        return ()


SECTIONS: dict[str, type[ConfigSection]] = {
    "outer": Outer,
    "grpc": GrpcConfig,
    "http": HttpConfig,
}


def load(tmp_path: Path, text: str, **environment: str) -> Config:
    file = tmp_path / "vigie.toml"
    file.write_text(text, encoding="utf-8")
    return load_config(file, SECTIONS, environment)


def problems(tmp_path: Path, text: str, **environment: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **environment)
    return [str(problem).replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_the_environment_goes_over_the_file_over_the_defaults(tmp_path: Path) -> None:
    config = load(
        tmp_path,
        "[outer]\ntimeout_seconds = 2\nmax_count = 4\n",
        VIGIE_OUTER__MAX_COUNT="7",
        VIGIE_OUTER__NAMES='["a", "b"]',
        VIGIE_OUTER__LABEL="12",
        VIGIE_CONFIG="ignored",
    )
    outer = config.section(Outer)
    assert (outer.timeout_seconds, outer.max_count, outer.names) == (2.0, 7, ("a", "b"))
    assert outer.label == "12"
    assert config.origins["outer.max_count"] == "environment VIGIE_OUTER__MAX_COUNT"
    assert config.section(GrpcConfig).max_message_bytes == 1 << 20


def test_every_problem_is_reported_at_once_and_says_how_to_mend(tmp_path: Path) -> None:
    text = """[outer]
timeout_second = 3
max_count = "30s"
[outer.inner]
password = "hunter2"
[outter]
[grpc]
listen = ["0.0.0.0:7443"]
keepalive_ms = 5
"""
    found = problems(tmp_path, text, VIGIE_OUTER__TIMEOUT_SECONDS="30s")
    assert found == [
        "vigie.toml:6: outter: unknown section; did you mean 'outer'?",
        (
            "vigie.toml:5: outer.inner.password: a secret does not stand in this file; write "
            "password_file with the path of a file that holds it, or set the environment"
        ),
        (
            "environment VIGIE_OUTER__TIMEOUT_SECONDS: outer.timeout_seconds: '30s' carries a "
            "unit; the key is in seconds already: write 30"
        ),
        (
            "vigie.toml:3: outer.max_count: '30s' carries a unit; the key takes a plain number: "
            "write 30"
        ),
        "vigie.toml:2: outer.timeout_second: unknown key; did you mean 'timeout_seconds'?",
        (
            "vigie.toml:9: grpc.keepalive_ms: unknown key; the key is 'keepalive_seconds', in "
            "seconds: convert the value"
        ),
    ]
    assert "hunter2" not in "".join(found)


def test_a_missing_or_broken_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "none.toml", SECTIONS, {})
    assert "none.toml: cannot be read: No such file" in str(caught.value)
    assert problems(tmp_path, "[outer]\nmax_count = \n") == [
        "vigie.toml:2: is not TOML: Invalid value; texts stand in quotes, tables in [ ]"
    ]


def test_plain_text_for_others_needs_to_be_said(tmp_path: Path) -> None:
    (line,) = problems(tmp_path, '[grpc]\nlisten = ["0.0.0.0:7443"]\n')
    assert "0.0.0.0:7443 is reached by other machines, and there is no TLS" in line
    assert "allow_plaintext = true" in line
    config = load(tmp_path, '[grpc]\nlisten = ["0.0.0.0:7443"]\nallow_plaintext = true\n')
    assert [item.key for item in config.suspicions] == ["grpc.allow_plaintext"]
    load(tmp_path, '[grpc]\nlisten = ["[::1]:7443", "localhost:0"]\n')


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:99999", "127.0.0.1:http", ":7443"])
def test_an_address_to_listen_on_is_whole(address: str, tmp_path: Path) -> None:
    for line in (f'[grpc]\nlisten = ["{address}"]\n', f'[http]\nlisten = "{address}"\n'):
        said = problems(tmp_path, line)
        assert f"'{address}' is not host:port with a port up to 65535" in said[0]
    load(tmp_path, '[grpc]\nlisten = ["unix:/run/vigie.sock"]\n')


def test_secrets_come_from_files_and_are_never_shown(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("hunter2\n")
    secret.chmod(0o644)
    config = load(tmp_path, '[outer.inner]\npassword_file = "password"\nkey_file = "k.pem"\n')
    inner = config.section(Outer).inner
    assert inner.password is not None
    assert inner.password.reveal() == "hunter2"
    assert inner.key_file == tmp_path / "k.pem"
    assert "can be read by others" in str(config.suspicions[0])
    everything = render(config) + repr(config) + config.section(Outer).model_dump_json()
    assert "hunter2" not in everything
    assert "[secret]" in render(config)
    from_environment = load(tmp_path, "", VIGIE_OUTER__INNER__PASSWORD="123")
    password = from_environment.section(Outer).inner.password
    assert password is not None
    assert password.reveal() == "123"


def test_a_secret_cannot_be_printed_or_serialised() -> None:
    secret = Secret("hunter2")
    assert f"{secret} {secret!r} {secret!s} {secret:>9}".count("hunter2") == 0
    assert secret == Secret("hunter2")
    assert secret != Secret("other")
    for serialise in (pickle.dumps, copy.copy, json.dumps):
        with pytest.raises(TypeError):
            serialise(secret)


def test_suspect_combinations_say_where(tmp_path: Path) -> None:
    config = load(tmp_path, "[outer]\n\nmax_count = 0\n")
    (line,) = [str(item).replace(f"{tmp_path}/", "") for item in config.suspicions]
    assert line == "vigie.toml:3: outer.max_count: allows nothing; write 1 or more"


def test_the_reference_tells_every_key(tmp_path: Path) -> None:
    page = reference(SECTIONS)
    row = "| `outer.timeout_seconds` | float | seconds | `5.0` | `VIGIE_OUTER__TIMEOUT_SECONDS` |"
    assert f"{row} How long. |" in page
    assert "`outer.inner.password_file` | secret |" in page
    assert "## `[grpc]`" in page


def test_what_is_rendered_can_be_read_again(tmp_path: Path) -> None:
    first = load(tmp_path, '[outer]\nnames = ["é", "\\"x\\""]\n')
    again = load(tmp_path, render(first))
    assert again.section(Outer) == first.section(Outer)
    assert again.section(GrpcConfig) == first.section(GrpcConfig)
