"""Sends a finished package in messages that any client takes."""

from collections.abc import AsyncIterator

from vigie.evidence.convert import package_to_proto
from vigie.evidence.model import PackageInfo
from vigie.evidence.v1 import evidence_service_pb2 as pb
from vigie.platform.objectstore import ObjectStore

CHUNK_BYTES = 256 << 10


async def stream_package(
    store: ObjectStore, package: PackageInfo, offset_bytes: int
) -> AsyncIterator[pb.DownloadPackageResponse]:
    """The package message, then the bytes from ``offset_bytes`` on."""
    yield pb.DownloadPackageResponse(package=package_to_proto(package), offset_bytes=offset_bytes)
    if offset_bytes == package.size_bytes:
        return
    at = offset_bytes
    async for chunk in store.read(package.object_key, offset=at, chunk_size=CHUNK_BYTES):
        yield pb.DownloadPackageResponse(data=chunk, offset_bytes=at)
        at += len(chunk)
