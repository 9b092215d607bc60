"""What the tests of the directory store share."""

import hashlib
from pathlib import Path

from vigie.platform.objectstore import (
    ObjectStore,
)
from vigie.platform.objectstore.tree import FAULT_POINTS

KEY = "footage/cam-a/2026-11-22/10/00-00.000000Z.0.m4v"
CONTENT = b"media" * 1000
PUT_POINTS = [name for name in FAULT_POINTS if ".put." in name or ".describe." in name]
DELETE_POINTS = [name for name in FAULT_POINTS if ".delete." in name]


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def put(store: ObjectStore, key: str = KEY, content: bytes = CONTENT) -> bool:
    result = await store.put_bytes(
        key, content, sha256=digest(content), content_type="video/mp4", metadata={}
    )
    return result.created


async def keys(store: ObjectStore) -> list[str]:
    return [info.key async for info in store.list()]


async def content_of(store: ObjectStore, key: str = KEY) -> bytes:
    return b"".join([chunk async for chunk in store.read(key)])


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
