"""What stands between a package that was built and one that is released.

It is verified as a third party will verify it, stored, and what is stored is compared with what
was verified. Only then is the request READY.
"""

import asyncio
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography import x509

from vigie.evidence.builder import package_sha256
from vigie.evidence.rejection import RejectedError
from vigie.evidence.verify import verify_package
from vigie.platform.objectstore import FileState, ObjectStore

_READ_BYTES: Final = 1 << 20


async def verify_built(path: Path, trusted: x509.Certificate) -> str:
    """Verify a package; its SHA-256, lower-case hexadecimal.

    Both read all of it, side by side: what one has read the other finds in memory.

    Raises:
        RejectedError: it does not hold.
    """
    digesting = asyncio.create_task(asyncio.to_thread(package_sha256, path))
    try:
        await asyncio.to_thread(verify_package, path, trusted=[trusted])
    finally:
        sha256 = await digesting
    return sha256


async def compare_stored(store: ObjectStore, key: str, sha256: str, verified: FileState) -> None:
    """Make sure that what is stored is what was verified.

    Either the object *is* that file and nobody has written to it since (a directory store links
    it), or all of it is read back.

    Args:
        store: where it is.
        key: of the object.
        sha256: of what was verified.
        verified: the state of the file, taken before it was verified.

    Raises:
        RejectedError: FILE_ALTERED.
        VigieError: OBJECT_NOT_FOUND, STORE_UNAVAILABLE.
    """
    local = await store.local_path(key)
    if local is not None:
        found = FileState.of(await asyncio.to_thread(local.stat))
        # The link itself changes the time of the last change, and nothing else.
        if replace(found, changed_ns=verified.changed_ns) == verified:
            return
    digest = hashlib.sha256()
    async for chunk in store.read(key, chunk_size=_READ_BYTES):
        await asyncio.to_thread(digest.update, chunk)
    if digest.hexdigest() != sha256:
        raise RejectedError("FILE_ALTERED", f"{key} came back as another file")
