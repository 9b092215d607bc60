"""`vigie store init` and `vigie store check`."""

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from servers_s3 import S3Server, new_bucket, remove_bucket
from vigie.cli.main import app

_RULE = "vigie-unfinished-uploads"


@pytest.fixture
def bucket(server: S3Server) -> Iterator[str]:
    """The name of a bucket that is not there yet."""
    name = f"vigie-test-{uuid.uuid4().hex[:12]}"
    yield name
    if server.client().bucket_exists(name):
        remove_bucket(server, name)


def configured(server: S3Server, folder: Path, bucket: str, **more: str) -> Path:
    settings = server.config(folder, bucket)
    lines = ["[s3]", f'endpoint = "{settings.endpoint}"', f'bucket = "{bucket}"',
             f'access_key_file = "{settings.access_key_file}"',
             f'secret_key_file = "{settings.secret_key_file}"',
             *(f'{name} = "{value}"' for name, value in more.items())]  # fmt: skip
    path = folder / "vigie.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def vigie(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def table(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result.stdout)
    return {one["name"]: one["state"] for one in document["capabilities"]}


def test_a_bucket_is_made_as_footage_needs_it(
    server: S3Server, tmp_path: Path, bucket: str
) -> None:
    config = configured(server, tmp_path, bucket, installation="north")
    missing = vigie("store", "check", "-c", config)
    assert missing.exit_code == 6
    assert "STORE_BUCKET_MISSING" in missing.stderr
    made = vigie("--json", "store", "init", "-c", config)
    assert made.exit_code == 0, made.output
    document = json.loads(made.stdout)
    assert (document["created"], document["installation"]) == (True, "north")
    states = table(made)
    for needed in ("versioning", "object-lock", "default-retention", "conditional-writes",
                   "checksums", "clock"):  # fmt: skip
        assert states[needed] == "ok", needed
    client = server.client()
    assert client.get_bucket_versioning(bucket).status == "Enabled"
    assert client.get_object_lock_config(bucket).mode is None
    rules = client.get_bucket_lifecycle(bucket)
    assert rules is not None
    assert [rule.rule_id for rule in rules.rules] == [_RULE]
    again = vigie("--json", "store", "init", "-c", config)
    repeated = json.loads(again.stdout)
    assert (repeated["created"], repeated["installation"]) == (False, "north")
    assert table(again) == states
    assert table(vigie("--json", "store", "check", "-c", config)) == states
    shown = vigie("store", "check", "-c", config)
    assert shown.exit_code == 0
    assert "object-lock" in shown.stdout
    assert "north" in shown.stdout


def test_rules_and_objects_of_others_stay(server: S3Server, tmp_path: Path) -> None:
    from minio.commonconfig import ENABLED, Filter
    from minio.lifecycleconfig import LifecycleConfig, NoncurrentVersionExpiration, Rule

    bucket = new_bucket(server)
    client = server.client()
    theirs = Rule(
        ENABLED,
        rule_filter=Filter(prefix="theirs/"),
        rule_id="theirs",
        noncurrent_version_expiration=NoncurrentVersionExpiration(30),
    )
    client.set_bucket_lifecycle(bucket, LifecycleConfig([theirs]))
    try:
        config = configured(server, tmp_path, bucket)
        assert vigie("store", "init", "-c", config).exit_code == 0
        rules = client.get_bucket_lifecycle(bucket)
        assert rules is not None
        assert {rule.rule_id for rule in rules.rules} == {"theirs", _RULE}
    finally:
        remove_bucket(server, bucket)


def test_a_bucket_that_does_not_suit_is_told(server: S3Server, tmp_path: Path) -> None:
    bucket = new_bucket(server, object_lock=False)
    try:
        config = configured(server, tmp_path, bucket)
        checked = vigie("--json", "store", "check", "-c", config)
        assert checked.exit_code == 7
        assert json.loads(checked.stdout)["suitable"] is False
        assert table(checked)["object-lock"] == "missing"
        assert "✗" in vigie("store", "check", "-c", config).stdout
    finally:
        remove_bucket(server, bucket)


def test_failures_are_one_line_with_a_reason(server: S3Server, tmp_path: Path, bucket: str) -> None:
    config = configured(server, tmp_path, bucket)
    (tmp_path / "secret-key").write_text("wrong-and-secret")
    refused = vigie("store", "init", "-c", config)
    assert refused.exit_code == 6
    assert "STORE_REFUSED" in refused.stderr
    assert "Traceback" not in refused.output
    assert "wrong-and-secret" not in refused.output


def test_without_an_s3_store_there_is_nothing_to_check(tmp_path: Path) -> None:
    path = tmp_path / "vigie.toml"
    path.write_text("")
    assert vigie("store", "check", "-c", path).exit_code == 2
