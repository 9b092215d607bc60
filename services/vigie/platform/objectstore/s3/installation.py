"""Whose bucket this is: a marker that nobody overwrites, and what this machine remembers of it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

from vigie.platform.clock import WallClock
from vigie.platform.errors import VigieError
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.objectstore.s3 import naming
from vigie.platform.objectstore.s3.failures import StoreFailure
from vigie.platform.objectstore.s3.holds import put_small
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.ownership import RememberedOwners
from vigie.platform.reasons import STORE_BUCKET_MISSING, STORE_OF_ANOTHER

log = structlog.get_logger(__name__)
_MEMORY: Final = "s3-installation.json"


@dataclass(frozen=True, slots=True)
class Installation:
    """The marker in the bucket.

    Attributes:
        name: of the installation.
        etag: of the marker, as HEAD gives it.
    """

    name: str
    etag: str


async def identify(
    requests: Requests, name: str, workspace: Path | None, wall_clock: WallClock
) -> Installation:
    """Find the marker, or leave one where there was never any; compare it with who we are.

    Args:
        requests: to the store.
        name: of this installation; "": the one remembered, else the one found, else a new one.
        workspace: folder in which this machine remembers the name; ``None``: nowhere.
        wall_clock: when the marker was made, for people.

    Raises:
        VigieError: STORE_OF_ANOTHER; STORE_BUCKET_MISSING when a marker that was there is gone.
    """
    owners, bucket = RememberedOwners(workspace, _MEMORY), _memory(requests)
    remembered = await requests.work(lambda: owners.recall(bucket))
    found = await _read(requests)
    if found is None:
        if remembered:
            raise VigieError(
                STORE_BUCKET_MISSING,
                f"{requests.place} has lost the marker of installation {remembered}: it is empty, "
                "or another bucket",
            )
        await _mark(requests, name or str(IdentifierSource(wall_clock).uuid7()), wall_clock)
        found = await _read(requests)
        if found is None:
            raise VigieError(STORE_BUCKET_MISSING, f"{requests.place} keeps nothing")
        log.info("s3_installation_marked", installation=found.name)
    for expected in (name, remembered):
        if expected and found.name != expected:
            raise VigieError(
                STORE_OF_ANOTHER,
                f"{requests.place} belongs to installation {found.name}, this is {expected}",
                installation=found.name,
            )
    if not remembered:
        await requests.work(lambda: owners.remember(bucket, found.name))
    return found


async def _mark(requests: Requests, name: str, wall_clock: WallClock) -> None:
    content = {"version": 1, "installation": name, "created_us": wall_clock.now_us()}
    try:
        await put_small(requests, naming.INSTALLATION, json.dumps(content).encode())
    except StoreFailure as failure:
        if failure.code != "AccessDenied":
            raise
        raise VigieError(
            STORE_BUCKET_MISSING,
            f"{requests.place} was never prepared, and these credentials may not do it",
        ) from failure


async def _read(requests: Requests) -> Installation | None:
    bucket, name = requests.bucket.name, requests.bucket.object_name(naming.INSTALLATION)

    def read() -> tuple[bytes, str]:
        response = requests.client.get(bucket, name, {})
        try:
            return bytes(response.read()), str(response.headers.get("etag", "")).strip('"')
        finally:
            response.close()
            response.release_conn()

    try:
        content, etag = await requests.run("get", lambda _: read())
    except StoreFailure as failure:
        if failure.is_missing:
            return None
        raise
    try:
        return Installation(str(json.loads(content)["installation"]), etag)
    except (ValueError, KeyError, TypeError) as error:
        raise VigieError(
            STORE_OF_ANOTHER, f"{requests.place}: {name} is no marker of an installation"
        ) from error


def _memory(requests: Requests) -> str:
    """Which bucket is meant: another bucket or prefix may belong to another installation."""
    return requests.bucket.name + "/" + requests.bucket.prefix
