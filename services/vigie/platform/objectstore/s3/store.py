"""The object store on S3. Make one with `opening.open_s3_store`."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import structlog

from vigie.platform.clock import WallClock
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore.failures import as_store_error
from vigie.platform.objectstore.port import (
    FileState,
    Folder,
    ListedObject,
    ObjectInfo,
    PutResult,
)
from vigie.platform.objectstore.record import check_attributes
from vigie.platform.objectstore.s3 import attributes, listing, metrics, naming, probe
from vigie.platform.objectstore.s3.failures import StoreFailure
from vigie.platform.objectstore.s3.holds import Holds, put_small
from vigie.platform.objectstore.s3.installation import identify
from vigie.platform.objectstore.s3.looking import Looker, Seen
from vigie.platform.objectstore.s3.mending import Mender
from vigie.platform.objectstore.s3.reading import range_invalid, read_range
from vigie.platform.objectstore.s3.removal import Remover
from vigie.platform.objectstore.s3.requests import Requests
from vigie.platform.objectstore.s3.upload import Content, Uploader
from vigie.platform.objectstore.workspace import SweepReport
from vigie.platform.reasons import OBJECT_NOT_FOUND

log = structlog.get_logger(__name__)

FAULT_POINTS: Final = (
    "s3.put.begun",
    "s3.put.stored",
    "s3.put.verified",
    "s3.hold.marked",
    "s3.hold.placed",
    "s3.release.unmarked",
    "s3.release.off",
    "s3.delete.begun",
    "s3.delete.removed",
)
"""Steps of put, of holds and of delete; each stands behind what its name says."""
_LOOKS_AT_ONCE: Final = 64


class S3ObjectStore:
    """See `vigie.platform.objectstore.port.ObjectStore`.

    Nothing is asked of the store before the first method is called; what was found out about it
    then is kept. So a process whose store is down comes up, says so, and works once it is there.

    Args:
        requests: to the store; closed with this object.
        wall_clock: compared with the store's; it decides nothing.
        workspace: where this machine remembers whose bucket it is; ``None``: nowhere.
        registry: where is counted.
        faults: where tests strike; names in `FAULT_POINTS`.
    """

    def __init__(
        self,
        requests: Requests,
        wall_clock: WallClock,
        *,
        workspace: Path | None,
        registry: MetricsRegistry,
        faults: FaultPoints = NO_FAULTS,
    ) -> None:
        self._requests = requests
        self._wall_clock = wall_clock
        self._workspace = workspace
        self._faults = faults
        self._degraded = registry.gauge(metrics.DEGRADED)
        read_back = registry.counter(metrics.READ_BACK)
        self._looker = Looker(requests, write_only=requests.config.write_only)
        self._uploader = Uploader(requests, self._looker, self._reach, read_back.inc)
        self._holds = Holds(requests, self._looker, self._reach)
        self._remover = Remover(requests, self._looker, self._holds, wall_clock, self._reach)
        self._mender = Mender(requests, self._looker, self._holds, self._remover)
        self._opening: asyncio.Task[probe.Abilities] | None = None
        self._abilities: probe.Abilities | None = None

    async def open(self) -> probe.Abilities:
        """Find out what the store can do and whose the bucket is; once, for all who ask meanwhile.

        Raises:
            VigieError: STORE_UNAVAILABLE, STORE_REFUSED, STORE_CLOCK_SKEWED, STORE_BUCKET_MISSING,
                STORE_UNSUITABLE, STORE_OF_ANOTHER.
        """
        if self._abilities is None:
            if self._opening is None or self._opening.done():
                self._opening = asyncio.create_task(self._find_out(), name="s3-open")
                self._opening.add_done_callback(_retrieved)
            self._abilities = await asyncio.shield(self._opening)
        return self._abilities

    async def _find_out(self) -> probe.Abilities:
        config = self._requests.config
        prober = probe.Prober(self._requests, self._wall_clock)
        await prober.reach()
        installation = await identify(
            self._requests, config.installation, self._workspace, self._wall_clock
        )
        self._looker.installation_etag = installation.etag
        abilities = await prober.abilities()
        probe.require(abilities.findings, self._requests.place)
        for finding in abilities.findings:
            if finding.state is probe.State.DEGRADED:
                self._degraded.labels(capability=finding.name).set(1)
                log.warning("s3_store_degraded", capability=finding.name, detail=finding.detail)
        self._holds.locking = abilities.locking
        self._uploader.conditional = abilities.conditional
        self._uploader.checksums = abilities.checksums
        log.info("s3_store_opened", store=self._requests.place, installation=installation.name)
        return abilities

    # --- put -----------------------------------------------------------------------------------

    async def put_file(
        self,
        key: str,
        path: Path,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        written: FileState | None = None,
    ) -> PutResult:
        """See `ObjectStore.put_file`; what is sent is verified by the store, not hashed here.

        Raises:
            VigieError: as the port says.
            OSError: the source cannot be read.
            ValueError: digest or attributes are malformed.
        """
        del written  # the store hashes what it receives
        return await self._put(key, path, sha256, content_type, metadata)

    async def put_bytes(
        self,
        key: str,
        content: bytes,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
    ) -> PutResult:
        """See `ObjectStore.put_bytes`."""
        return await self._put(key, content, sha256, content_type, metadata)

    async def _put(
        self,
        key: str,
        source: Path | bytes,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
    ) -> PutResult:
        check_attributes(sha256, content_type, metadata)
        headers = attributes.to_headers(sha256, content_type, metadata)
        if self._requests.config.write_only:
            headers["x-amz-tagging"] = f"{attributes.DIGEST}={sha256}"
        content = Content(await self._ready(key), source, sha256, headers)
        seen, created = await self._uploader.put(content)
        if seen.info.foreign:
            # It is the same content, put here by others: from now on it is described.
            await self._mender.redescribe(key, sha256, content_type, metadata)
            seen = await self._seen(key)
        return PutResult(await self._with_holds(key, seen), created)

    # --- read ----------------------------------------------------------------------------------

    async def read(
        self, key: str, *, offset: int = 0, length: int | None = None, chunk_size: int = 1 << 18
    ) -> AsyncIterator[bytes]:
        """See `ObjectStore.read`; by short requests, each tried again alone."""
        await self._ready(key)
        if offset < 0 or (length is not None and length <= 0):
            # No request could ask for this: what is there decides what is wrong with it.
            size_bytes = (await self._seen(key)).size_bytes
            if offset < 0 or length is None or length < 0 or offset > size_bytes:
                raise range_invalid(
                    key, size_bytes, offset, size_bytes if length is None else length
                )
            return
        chunks = read_range(self._requests, key, offset, length, chunk_size)
        try:
            async for chunk in chunks:
                yield chunk
        except StoreFailure as failure:
            if failure.is_missing:
                await self._looker.require()
                raise _not_found(key) from failure
            if failure.code != "InvalidRange":
                raise
            size_bytes = (await self._seen(key)).size_bytes
            if offset != size_bytes or length:
                wanted = size_bytes - offset if length is None else length
                raise range_invalid(key, size_bytes, offset, wanted) from failure

    async def local_path(self, key: str) -> Path | None:
        """See `ObjectStore.local_path`: objects are no files here."""
        naming.checked(key, self._requests.bucket.prefix)
        return None

    async def stat(self, key: str) -> ObjectInfo | None:
        """See `ObjectStore.stat`."""
        await self._ready(key)
        seen = await self._looker.see(key)
        return None if seen is None else await self._with_holds(key, seen)

    async def list(self, prefix: str = "", *, start_after: str = "") -> AsyncIterator[ObjectInfo]:
        """See `ObjectStore.list`; where listings show no attributes, each object is asked."""
        abilities = await self.open()
        async for page in self._pages(prefix, start_after, attributes=abilities.attributes_listed):
            for start in range(0, len(page), _LOOKS_AT_ONCE):
                looks = [self._described(one) for one in page[start : start + _LOOKS_AT_ONCE]]
                for info in await asyncio.gather(*looks):
                    if info is not None:
                        yield info

    async def list_keys(
        self, prefix: str = "", *, start_after: str = ""
    ) -> AsyncIterator[ListedObject]:
        """See `ObjectStore.list_keys`: one request for a thousand keys."""
        await self.open()
        async for page in self._pages(prefix, start_after, attributes=False):
            for one in page:
                yield ListedObject(one.key, one.entry.size_bytes, one.entry.stored_at_us)

    async def folder(self, prefix: str) -> Folder:
        """See `ObjectStore.folder`: one request for a thousand of what is there."""
        abilities = await self.open()
        lister = listing.Lister(self._requests, in_order=abilities.in_order)
        found = await lister.folder(prefix)
        await self._looker.require()
        return Folder(
            folders=[one.key for one in found if one.key.endswith("/")],
            objects=[
                ListedObject(one.key, one.entry.size_bytes, one.entry.stored_at_us)
                for one in found
                if not one.key.endswith("/")
            ],
        )

    async def _pages(
        self, prefix: str, start_after: str, *, attributes: bool
    ) -> AsyncIterator[listing.Keys]:
        abilities = await self.open()
        lister = listing.Lister(self._requests, in_order=abilities.in_order, attributes=attributes)
        async for page in lister.pages(prefix, start_after):
            yield page
        await self._looker.require()

    async def _described(self, one: listing.Listed) -> ObjectInfo | None:
        """A listed object with its attributes; ``None``: it has gone since."""
        entry = one.entry
        listed = attributes.info_of_listed(
            one.key, entry.size_bytes, entry.stored_at_us, entry.attributes
        )
        held = attributes.is_held(entry.attributes or {})
        if listed is not None and not held and self._holds.locking:
            return listed
        if not naming.is_valid(one.key):
            return attributes.foreign_info(one.key, entry.size_bytes, entry.stored_at_us)
        seen = await self._looker.see(one.key)
        return None if seen is None else await self._with_holds(one.key, seen)

    # --- holds, retention, delete --------------------------------------------------------------

    async def delete(self, key: str) -> bool:
        """See `ObjectStore.delete`: all versions and delete markers."""
        return await self._remover.delete(await self._ready(key))

    async def place_hold(self, key: str, hold_id: str) -> None:
        """See `ObjectStore.place_hold`."""
        await self._holds.place(await self._ready(key), hold_id)

    async def release_hold(self, key: str, hold_id: str) -> None:
        """See `ObjectStore.release_hold`."""
        await self._holds.release(await self._ready(key), hold_id)

    async def set_retention(self, key: str, retain_until_us: int) -> None:
        """See `ObjectStore.set_retention`: governance mode, rounded up to whole seconds."""
        await self._holds.retain(await self._ready(key), retain_until_us)

    # --- mending and upkeep --------------------------------------------------------------------

    async def redescribe(
        self,
        key: str,
        *,
        sha256: str,
        content_type: str,
        metadata: Mapping[str, str],
        holds: frozenset[str] = frozenset(),
    ) -> None:
        """Write the attributes of an object anew when its content is what it should be.

        Raises:
            VigieError: OBJECT_NOT_FOUND, STORE_CHECKSUM_MISMATCH.
        """
        check_attributes(sha256, content_type, metadata)
        await self._mender.redescribe(await self._ready(key), sha256, content_type, metadata)
        for hold in sorted(holds):
            await self._holds.place(key, hold)

    async def set_aside(self, key: str) -> None:
        """Move an object that is not ours below ``.vigie/quarantine/``.

        Raises:
            VigieError: OBJECT_NOT_FOUND, OBJECT_HELD, OBJECT_RETAINED.
        """
        await self._mender.set_aside(await self._ready(key))

    async def check(self) -> None:
        """See `ObjectStore.check`; leaves nothing.

        The marker of the installation is read, and a write that must be refused is tried: it
        passes credentials, permission and the store's write path up to the condition.
        """
        abilities = await self.open()
        await self._looker.require()
        if abilities.conditional:
            await put_small(self._requests, naming.PROBE_CONDITION, b"{}")

    async def sweep(self) -> SweepReport:
        """Remove what crashed puts have left and what was set aside long ago; mend legal holds."""
        await self.open()
        await self._holds.reconcile()
        now_us = self._wall_clock.now_us()
        uploads = await self._mender.abort_unfinished(now_us)
        return SweepReport(uploads, 0, await self._mender.remove_set_aside(now_us))

    async def close(self) -> None:
        """Finish what is under way (idempotent)."""
        if self._opening is not None and not self._opening.done():
            self._opening.cancel()
        await self._requests.close()

    # --- private -------------------------------------------------------------------------------

    async def _ready(self, key: str) -> str:
        """``key``, once it is known to be valid and the store to be the right one."""
        naming.checked(key, self._requests.bucket.prefix)
        if self._abilities is None:
            await self.open()
        return key

    async def _seen(self, key: str) -> Seen:
        seen = await self._looker.see(key)
        if seen is None:
            raise _not_found(key)
        return seen

    async def _with_holds(self, key: str, seen: Seen) -> ObjectInfo:
        if self._requests.config.write_only:
            return seen.info
        if self._holds.locking and not attributes.is_held(seen.headers):
            return seen.info
        return replace(seen.info, holds=await self._holds.on(key))

    def _reach(self, name: str) -> None:
        with as_store_error(name):
            self._faults.reach(name)


def _retrieved(task: "asyncio.Task[probe.Abilities]") -> None:
    """Whoever asked may have gone: then nobody hears of the failure, and that is all right."""
    if not task.cancelled():
        task.exception()


def _not_found(key: str) -> VigieError:
    return VigieError(OBJECT_NOT_FOUND, f"no object {key}", key=key)
