"""What of the S3 store can be shown without a server."""

import datetime as dt
import inspect
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3.exceptions as http
from hypothesis import given
from hypothesis import strategies as st
from minio import Minio
from minio.error import InvalidResponseError, S3Error, ServerError
from pydantic import ValidationError
from urllib3 import HTTPResponse

from vigie.platform.clock import ManualWallClock
from vigie.platform.errors import VigieError
from vigie.platform.metrics import MetricsRegistry, naming_faults
from vigie.platform.objectstore.s3 import attributes, metrics, naming
from vigie.platform.objectstore.s3.client import Body, Deadline, DeadlineError, S3Client
from vigie.platform.objectstore.s3.credentials import FileCredentials
from vigie.platform.objectstore.s3.failures import failure_of
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.objectstore.s3.settings import S3Config

_TOLD = st.dictionaries(
    st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1, max_size=10),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
    max_size=5,
)


# --- configuration -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "store:9000"},
        {"endpoint": "https://user:secret@store"},
        {"endpoint": "https://store/bucket"},
        {"endpoint": "ftp://store"},
        {"bucket": "Vigie"},
        {"prefix": "a//b"},
        {"prefix": "../x"},
        {"prefix": "é"},
        {"installation": "two words"},
        {"accept_without": ["versioning"]},
        {"part_bytes": 1 << 20},
        {"attempts": 0},
    ],
)
def test_configurations_that_cannot_work_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        S3Config.model_validate(wrong)


def test_a_prefix_ends_in_a_slash() -> None:
    assert S3Config(prefix="north").prefix == "north/"
    assert S3Config(prefix="a/b/").prefix == "a/b/"
    assert not S3Config().prefix


def test_what_is_probably_not_meant_is_told() -> None:
    assert not S3Config().suspicions()
    assert not S3Config(endpoint="http://127.0.0.1:9000").suspicions()
    told = S3Config(endpoint="http://store:9000", accept_without=("object-lock",)).suspicions()
    assert [each.key for each in told] == ["endpoint", "accept_without"]


def test_metrics_are_named_as_all_are() -> None:
    assert naming_faults(metrics.METRICS) == []


# --- names and attributes ------------------------------------------------------------------------


@given(st.text(min_size=1).filter(lambda text: len(text.encode("utf-8", "replace")) <= 100))
def test_the_marker_of_a_hold_tells_its_identifier(hold: str) -> None:
    try:
        hold.encode()
    except UnicodeEncodeError:
        return
    marker = naming.hold_marker("footage/a", hold)
    assert naming.hold_of_marker(marker) == hold
    assert marker.startswith(naming.holds_folder("footage/a"))
    assert marker.isascii()
    assert len(marker) < 400


def test_markers_of_different_keys_stand_apart() -> None:
    assert naming.holds_folder("a/b") != naming.holds_folder("a/b/c")
    assert naming.hold_of_marker(".vigie/holds/x/z.unknown") is None
    assert naming.hold_of_marker(".vigie/holds/x/x.nothex") is None
    with pytest.raises(ValueError, match="1 to 100 bytes"):
        naming.hold_marker("a", "é" * 51)


def test_a_key_may_be_too_long_below_a_prefix() -> None:
    key = "/".join(["x" * 200] * 5)
    assert naming.checked(key, "") == key
    with pytest.raises(VigieError) as raised:
        naming.checked(key, "north/" * 5)
    assert raised.value.reason.name == "KEY_INVALID"


@given(_TOLD)
def test_attributes_survive_http(told: dict[str, str]) -> None:
    """Servers strip spaces at the ends and may drop what is empty."""
    sent = attributes.to_headers("ab" * 32, "video/mp4", told)
    assert all(value == " ".join(value.split()) != "" for value in sent.values())
    answer = {
        **{name.title(): value.strip() for name, value in sent.items()},
        "Content-Length": "5",
        "Last-Modified": "Wed, 25 Nov 2026 21:09:49 GMT",
    }
    info = attributes.info_of("k", answer, frozenset())
    assert (dict(info.metadata), info.sha256, info.content_type) == (told, "ab" * 32, "video/mp4")
    assert (info.size_bytes, info.foreign) == (5, False)
    assert info.stored_at_us == 1_795_640_989_000_000


# --- failures ------------------------------------------------------------------------------------


def answered(status: int, code: str) -> S3Error:
    response = HTTPResponse(b"", status=status, headers={"Date": "Wed, 25 Nov 2026 21:09:49 GMT"})
    return S3Error(response, code, "words", "/r", "id", "host")


@pytest.mark.parametrize(
    ("error", "reason", "passing"),
    [
        (answered(404, "NoSuchBucket"), "STORE_BUCKET_MISSING", False),
        (answered(403, "AccessDenied"), "STORE_REFUSED", False),
        (answered(403, "SignatureDoesNotMatch"), "STORE_REFUSED", False),
        (answered(403, "RequestTimeTooSkewed"), "STORE_CLOCK_SKEWED", False),
        (answered(503, "SlowDown"), "STORE_UNAVAILABLE", True),
        (answered(409, "ConditionalRequestConflict"), "STORE_UNAVAILABLE", True),
        (answered(507, "XMinioStorageFull"), "STORE_UNAVAILABLE", False),
        (ServerError("failed", 502), "STORE_UNAVAILABLE", True),
        (InvalidResponseError(503, "text/html", "<html>"), "STORE_UNAVAILABLE", True),
        (http.ProtocolError("aborted", ConnectionResetError(104, "reset")), "STORE_UNAVAILABLE",
         True),
        (http.SSLError("certificate verify failed"), "STORE_UNAVAILABLE", False),
        (DeadlineError("not finished after 5 s"), "STORE_UNAVAILABLE", True),
    ],
)  # fmt: skip
def test_failures_have_a_reason_and_say_whether_waiting_helps(
    error: Exception, reason: str, *, passing: bool
) -> None:
    failure = failure_of(error, "put", "http://store/vigie")
    assert failure is not None
    assert (failure.reason.name, failure.passing) == (reason, passing)
    assert failure.message.startswith("cannot put at http://store/vigie: ")
    assert "\n" not in failure.message
    assert "0x" not in failure.message


def test_codes_nobody_knows_share_a_label() -> None:
    failure = failure_of(answered(400, "SomethingNew"), "put", "x")
    assert failure is not None
    assert (failure.code, failure.label) == ("SomethingNew", "OTHER")


def test_what_is_not_the_stores_passes() -> None:
    assert failure_of(FileNotFoundError(2, "no such file"), "put", "x") is None
    assert failure_of(ValueError("a defect"), "put", "x") is None


# --- the client ----------------------------------------------------------------------------------


def test_what_is_private_to_the_library_is_still_as_we_use_it() -> None:
    """`client` overrides and calls these; a new version of the library may change them."""
    assert list(inspect.signature(Minio._build_headers).parameters) == [
        "self", "host", "headers", "body", "creds",
    ]  # fmt: skip
    assert list(inspect.signature(Minio._put_object).parameters) == [
        "self", "bucket_name", "object_name", "data", "headers", "query_params",
    ]  # fmt: skip
    needed = {"method", "bucket_name", "object_name", "body", "headers", "query_params",
              "preload_content"}  # fmt: skip
    assert needed <= set(inspect.signature(Minio._execute).parameters)
    assert hasattr(Minio, "_abort_multipart_upload")
    assert hasattr(Minio, "_list_multipart_uploads")


def config_in(folder: Path) -> S3Config:
    for name in ("access", "secret"):
        (folder / name).write_text(f"{name}-1\n")
    return S3Config(
        endpoint="http://127.0.0.1:9",
        access_key_file=folder / "access",
        secret_key_file=folder / "secret",
        attempts=3,
    )


def test_requests_are_dated_by_the_clock_that_was_given(tmp_path: Path) -> None:
    clock = ManualWallClock(1_795_640_989_000_000)
    credentials = FileCredentials(tmp_path / "access", tmp_path / "secret")
    client = S3Client(config_in(tmp_path), credentials, clock)
    body = Body(io.BytesIO(b"media"), 5, "ab" * 32, Deadline(1))
    headers, date = client._build_headers("store", {}, body, credentials.retrieve())
    assert date == dt.datetime(2026, 11, 25, 21, 9, 49, tzinfo=dt.UTC)
    assert headers["x-amz-date"] == "20261125T210949Z"
    assert headers["x-amz-content-sha256"] == "ab" * 32
    assert headers["Content-Length"] == "5"


def test_a_body_is_sent_as_it_is_read_and_no_longer() -> None:
    body = Body(io.BytesIO(b"0123456789"), 7, "", Deadline(60))
    assert [body.read(3), body.read(3), body.read(3), body.read(3)] == [b"012", b"345", b"6", b""]
    short = Body(io.BytesIO(b"01"), 5, "", Deadline(60))
    assert short.read(5) == b"01"
    with pytest.raises(OSError, match="shorter"):
        short.read(5)
    assert short.source_error is not None
    with pytest.raises(DeadlineError):
        Body(io.BytesIO(b"01"), 2, "", Deadline(-1)).read(1)


def test_credentials_are_read_again_when_their_files_change(tmp_path: Path) -> None:
    config_in(tmp_path)
    credentials = FileCredentials(tmp_path / "access", tmp_path / "secret")
    assert credentials.retrieve() is credentials.retrieve()
    for name in ("access", "secret"):
        (tmp_path / "new").write_text(f"{name}-2")
        (tmp_path / "new").replace(tmp_path / name)
    found = credentials.retrieve()
    assert (found.access_key, found.secret_key) == ("access-2", "secret-2")
    assert credentials.reloads == 2
    (tmp_path / "secret").write_text("")
    assert credentials.retrieve() is found
    (tmp_path / "secret").unlink()
    assert credentials.retrieve() is found
    with pytest.raises(VigieError) as raised:
        FileCredentials(tmp_path / "access", tmp_path / "secret").retrieve()
    assert raised.value.reason.name == "CONFIG_INVALID"


# --- attempts ------------------------------------------------------------------------------------


class Pauses:
    """A clock that notes how long it was asked to wait, and does not."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def now_us(self) -> int:
        return 0

    async def sleep(self, seconds: float) -> None:
        self.seconds.append(seconds)


async def test_attempts_are_bounded_with_growing_pauses(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    credentials = FileCredentials(tmp_path / "access", tmp_path / "secret")
    client = S3Client(config, credentials, ManualWallClock(0))
    pauses, registry = Pauses(), MetricsRegistry()
    requests = Requests(client, config, pauses, registry)
    try:
        with pytest.raises(VigieError) as raised:
            await requests.run("head", lambda _: client.stat_object("vigie", "x"))
        assert raised.value.reason.name == "STORE_UNAVAILABLE"
        assert "Connection refused" in raised.value.message
        first, second = pauses.seconds
        assert 0.05 <= first <= 0.1 <= second <= 0.2
        failed = {"operation": "head", "code": "NO_ANSWER"}
        assert registry.value("vigie_store_failures_total", **failed) == 3
        assert registry.value("vigie_store_retries_total", operation="head") == 2
    finally:
        await requests.close()
    with pytest.raises(VigieError) as raised:
        await requests.run("head", lambda _: None)
    assert "closed" in raised.value.message


def test_without_s3_its_library_is_not_loaded() -> None:
    code = (
        "import sys\n"
        "import vigie.app, vigie.cli.store\n"
        "from vigie.platform.objectstore.s3.settings import S3Config\n"
        "sys.exit(any(name.split('.')[0] in {'minio', 'urllib3'} for name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=dict(os.environ), check=False)
    assert done.returncode == 0
