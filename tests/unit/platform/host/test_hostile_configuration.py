"""What the fuzzer found in the loader of the configuration, said plainly."""

import time
from pathlib import Path

import pytest

from vigie.app import SECTIONS
from vigie.platform.config.loader import ConfigError, load_config
from vigie.platform.config.source import key_lines, parse_value


@pytest.mark.parametrize("text", ["a = " + "[" * 5000, "a = " + "1" * 5000])
def test_what_python_cannot_read_is_a_problem_of_the_file(tmp_path: Path, text: str) -> None:
    file = tmp_path / "vigie.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_config(file, SECTIONS, {})
    assert parse_value(text.removeprefix("a = ")) == text.removeprefix("a = ")


@pytest.mark.parametrize("path", ["~nobody-of-this-name/key.pem", "key.pem"])
def test_the_home_of_somebody_unknown_is_an_ordinary_name(tmp_path: Path, path: str) -> None:
    file = tmp_path / "vigie.toml"
    lines = ["[evidence]", f'signing_key_file = "{path}"', f'signing_certificate_file = "{path}"']
    file.write_text("\n".join(lines), encoding="utf-8")
    config = load_config(file, {"evidence": SECTIONS["evidence"]}, {})
    assert getattr(config.sections["evidence"], "signing_key_file") == tmp_path / path  # noqa: B009 - of this section only


def test_blanks_between_brackets_cost_no_more_than_their_length() -> None:
    started = time.process_time()
    key_lines("a = [\n[" + " " * 50_000 + "\n]]\n[ b . c ] # d\ne = 1\n")
    assert time.process_time() - started < 1
    assert key_lines("[ b . c ] # d\n[[x]]\ne = 1\n") == {"b.c": 1, "x": 2, "x.e": 3}
