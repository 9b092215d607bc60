"""Versions of one name: finding them all, removing them all."""

from dataclasses import dataclass
from itertools import islice
from typing import Final

from vigie.platform.objectstore.s3.failures import StoreFailure
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.reasons import STORE_UNAVAILABLE

NO_VERSION: Final = "null"
"""What S3 calls the one version of what was written without versions."""
_ROUNDS: Final = 5
_PAGE: Final = 1000


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a name.

    Attributes:
        name: in the bucket, with the prefix.
        version: its identifier.
        is_marker: a delete marker: no content, hides what is below.
        is_latest: what a reader sees.
    """

    name: str
    version: str
    is_marker: bool
    is_latest: bool


async def versions_of(requests: Requests, key: str) -> list[Version]:
    """All versions of ``key``, delete markers too.

    One page is enough: in it the name comes before those that it begins.

    Raises:
        StoreFailure: as requests do.
    """
    bucket = requests.bucket
    name = bucket.object_name(key)

    def listed() -> list[Version]:
        found = requests.client.list_objects(
            bucket.name, name, recursive=True, include_version=True
        )
        return [
            Version(
                name, one.version_id or NO_VERSION, one.is_delete_marker, one.is_latest == "true"
            )
            for one in islice(found, _PAGE)
            if one.object_name == name
        ]

    return await requests.run("list versions", lambda _: listed())


async def remove_version(requests: Requests, version: Version) -> None:
    """Remove one version; it may be gone already.

    Raises:
        StoreFailure: refused, locked, or no answer.
    """
    bucket = requests.bucket.name
    try:
        await requests.run(
            "delete",
            lambda _: requests.client.remove_object(bucket, version.name, version.version),
        )
    except StoreFailure as failure:
        if not failure.is_missing:
            raise


async def remove_all(requests: Requests, key: str) -> bool:
    """Remove every version of ``key``; whether there was content.

    Content goes first: a delete marker that goes first would show it again for a moment.

    Raises:
        StoreFailure: one of them could not be removed, or others keep coming.
    """
    removed = False
    for _ in range(_ROUNDS):
        found = await versions_of(requests, key)
        if not found:
            return removed
        for version in sorted(found, key=lambda each: each.is_marker):
            await remove_version(requests, version)
            removed = removed or not version.is_marker
    raise StoreFailure(
        STORE_UNAVAILABLE,
        f"{key} has versions again each time they are removed",
        code="OTHER",
        status=None,
        passing=False,
    )
