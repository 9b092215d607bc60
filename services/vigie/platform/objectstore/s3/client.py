"""The `minio` client, with what it does not offer: bodies that are not in memory, given digests.

The library signs, parses and connects. It hashes every body itself and keeps it in memory whole,
and its public `put_object` knows neither conditional writes nor checksums; so uploads go through
its `_execute`, and `_build_headers` takes length and digest of a `Body` as given. Both are private
to the library: its version is pinned, and `tests/unit/platform/storage/test_s3_parts.py` fails
when they change.
"""

import base64
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import urlsplit

import certifi
import urllib3
from minio import Minio
from minio.credentials.credentials import Credentials
from minio.credentials.providers import Provider
from minio.helpers import ObjectWriteResult
from minio.time import to_amz_date

from vigie.platform.clock import WallClock, from_us
from vigie.platform.objectstore.s3.settings import S3Config

_BLOCK_BYTES = 1 << 18


class DeadlineError(Exception):
    """A transfer was slower than it may be."""


class Deadline:
    """Until when a request may take; on the machine's monotonic clock, as the sockets are."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise `DeadlineError` once the time is over."""
        if time.monotonic() > self._end:
            raise DeadlineError(f"not finished after {self.seconds:.0f} s")


class Source(Protocol):
    """Where the bytes of a body come from."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most ``size``."""
        ...


class Body:
    """Content of a request, sent as it is read.

    Args:
        source: positioned at its begin.
        size_bytes: how much of it is sent.
        sha256: digest of just that, lower-case hex; the store compares.
        deadline: checked at each block.

    Attributes:
        source_error: why the source could not be read; the HTTP library hides it in its own error.
    """

    def __init__(self, source: Source, size_bytes: int, sha256: str, deadline: Deadline) -> None:
        self._source = source
        self._left = size_bytes
        self._deadline = deadline
        self.size_bytes = size_bytes
        self.sha256 = sha256
        self.source_error: OSError | None = None

    def read(self, size: int = -1) -> bytes:
        """The next bytes; empty at the end (called by the HTTP library)."""
        self._deadline.check()
        wanted = self._left if size < 0 else min(size, self._left)
        if not wanted:
            return b""
        try:
            block = self._source.read(wanted)
        except OSError as error:
            self.source_error = error
            raise
        if not block:
            self.source_error = OSError("the file became shorter while it was stored")
            raise self.source_error
        self._left -= len(block)
        return block


class S3Client(Minio):
    """One client for all threads; see the module.

    Args:
        config: address, region and time-outs.
        credentials: asked for each request.
        wall_clock: what requests are dated by; stores refuse dates far from their own.
    """

    def __init__(self, config: S3Config, credentials: Provider, wall_clock: WallClock) -> None:
        assert config.endpoint is not None
        parts = urlsplit(config.endpoint)
        pool = urllib3.PoolManager(
            maxsize=config.upload_concurrency + config.request_concurrency,
            timeout=urllib3.Timeout(
                connect=config.connect_timeout_seconds, read=config.read_timeout_seconds
            ),
            retries=False,  # decided where it is known what may be repeated
            cert_reqs="CERT_REQUIRED",
            ca_certs=str(config.ca_file or certifi.where()),
            blocksize=_BLOCK_BYTES,
        )
        self._clock = wall_clock
        super().__init__(
            parts.netloc,
            secure=parts.scheme == "https",
            region=config.region,
            http_client=pool,
            credentials=credentials,
        )

    def put(
        self,
        bucket: str,
        name: str,
        body: Body | bytes,
        headers: Mapping[str, str],
        query: Mapping[str, str] | None = None,
    ) -> ObjectWriteResult:
        """PutObject or UploadPart with the given headers.

        Raises:
            OSError: the source cannot be read; the store's failures as the library has them.
        """
        try:
            # The library declares bytes, and hands on what it is given.
            return self._put_object(bucket, name, body, dict(headers), dict(query or {}))  # type: ignore[arg-type]
        except Exception:
            if isinstance(body, Body) and body.source_error is not None:
                raise body.source_error from None
            raise

    def get(self, bucket: str, name: str, headers: Mapping[str, str]) -> Any:
        """GetObject; the response must be drained or closed."""
        return self._execute("GET", bucket, name, headers=dict(headers), preload_content=False)

    def get_bucket(self, bucket: str, query: Mapping[str, str]) -> bytes:
        """A GET on the bucket; its answer."""
        answer: bytes = self._execute("GET", bucket, query_params=dict(query)).data
        return answer

    def post(
        self,
        bucket: str,
        name: str,
        body: bytes | None,
        headers: Mapping[str, str],
        query: Mapping[str, str],
    ) -> Any:
        """A POST on an object; the response is read whole."""
        return self._execute(
            "POST", bucket, name, body=body, headers=dict(headers), query_params=dict(query)
        )

    def abort_upload(self, bucket: str, name: str, upload: str) -> None:
        """Give up a multipart upload and what was stored of it."""
        self._abort_multipart_upload(bucket, name, upload)

    def unfinished_uploads(self, bucket: str) -> Iterator[Any]:
        """Uploads in parts that were begun and neither finished nor given up."""
        key_marker = upload_marker = None
        while True:
            page = self._list_multipart_uploads(
                bucket, key_marker=key_marker, upload_id_marker=upload_marker
            )
            yield from page.uploads
            if not page.is_truncated:
                return
            key_marker, upload_marker = page.next_key_marker, page.next_upload_id_marker

    def close(self) -> None:
        """Close all idle connections."""
        self._http.clear()

    def _build_headers(
        self,
        host: str,
        headers: Any = None,
        body: Any = None,
        creds: Credentials | None = None,
    ) -> tuple[Any, datetime]:
        given = body if isinstance(body, Body) else None
        built, _ = super()._build_headers(host, headers, None if given else body, creds)
        if given is not None:
            built["Content-Length"] = str(given.size_bytes)
            built["x-amz-content-sha256"] = given.sha256
        date = from_us(self._clock.now_us())
        built["x-amz-date"] = to_amz_date(date)
        return built, date


def base64_of(sha256: str) -> str:
    """A digest as checksum headers carry it."""
    return base64.b64encode(bytes.fromhex(sha256)).decode()
