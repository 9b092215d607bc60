"""Makes packages of approved requests, one after the other, and destroys expired ones.

Of several processes one works (`EvidenceRepository.leads`): no two may store the same package. The
others look every few seconds whether it is their turn now.

State lives in the database alone: a worker that dies leaves a request APPROVED, BUILDING or
VERIFYING, and the next one begins that package again from nothing.
"""

import asyncio
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc
import grpc.aio
import structlog

from vigie.evidence import metrics, reasons
from vigie.evidence.builder import Built, PackageBuilder
from vigie.evidence.leftovers import Leftovers, package_key
from vigie.evidence.model import IN_PROGRESS, EvidenceRequest, PackageInfo, State
from vigie.evidence.ports import Recordings
from vigie.evidence.rejection import RejectedError
from vigie.evidence.release import compare_stored, verify_built
from vigie.evidence.repository import PRODUCT, EvidenceRepository, Step
from vigie.evidence.settings import EvidenceConfig
from vigie.evidence.signer import Signer
from vigie.evidence.watch import RequestWatch
from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.errors import VigieError
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore import FileState, ObjectStore
from vigie.platform.reasons import (
    DATABASE_UNAVAILABLE,
    OBJECT_HELD,
    OBJECT_RETAINED,
    STORE_UNAVAILABLE,
)

log = structlog.get_logger(__name__)

FAULT_POINTS: Final = (
    "evidence.held",
    "evidence.built",
    "evidence.storing",
    "evidence.stored",
    "evidence.verified",
    "evidence.ready",
)
"""Steps of a package: the hold is there, it is written, verified and about to be stored, stored,
compared with what was verified, released."""
CONTENT_TYPE: Final = "application/zip"
_PASS_SECONDS: Final = 5.0
_FIRST_RETRY_SECONDS: Final = 0.05
_RETRY_SECONDS: Final = 2.0
_LEFTOVERS_US: Final = 60_000_000
"""How often the store is looked at for what no pass of this process left there."""
_DAY_US: Final = 86_400_000_000
_TRANSIENT: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.ABORTED}
)


@dataclass(frozen=True, slots=True)
class WorkerDependencies:
    """What the worker stands on."""

    repository: EvidenceRepository
    recordings: Recordings
    builder: PackageBuilder
    signer: Signer
    store: ObjectStore
    watch: RequestWatch
    wall_clock: WallClock
    monotonic_clock: MonotonicClock
    config: EvidenceConfig
    work_directory: Path
    metrics: MetricsRegistry
    faults: FaultPoints = NO_FAULTS


class EvidenceWorker:
    """The builder's loop."""

    def __init__(self, dependencies: WorkerDependencies) -> None:
        self._on = dependencies
        self._wake = asyncio.Event()
        self._leftovers = Leftovers(dependencies.repository, dependencies.store)
        self._look_at_us = 0  # when the store is looked at for leftovers next
        self._kept: set[str] = set()  # expired, and told of once that the store keeps them
        self._requests = dependencies.metrics.gauge(metrics.REQUESTS)
        self._finished = dependencies.metrics.counter(metrics.FINISHED)
        self._seconds = dependencies.metrics.histogram(metrics.BUILD_SECONDS)

    def wake(self) -> None:
        """Look for work now, not at the next pass."""
        self._wake.set()

    async def run(self) -> None:
        """Work until cancelled."""
        shutil.rmtree(self._on.work_directory, ignore_errors=True)  # halves of a former life
        self._on.work_directory.mkdir(parents=True)
        while True:
            self._wake.clear()
            try:
                await self.run_once()
            except VigieError as error:
                # What is owed stands in the database: the next pass begins where this one was.
                if error.reason.code is not grpc.StatusCode.UNAVAILABLE:
                    raise
                log.warning("evidence_pass_failed", error=str(error))
            await self._pause(_PASS_SECONDS)

    async def run_once(self) -> None:
        """One pass: every approved request, then what has expired, then what was left in the store.

        Nothing in another's turn.
        """
        if not await self._on.repository.leads():
            return
        for request in reversed(await self._on.repository.every(IN_PROGRESS)):
            await self._make(request)
        for state, count in (await self._on.repository.counts()).items():
            self._requests.labels(str(state)).set(count)
        now_us = self._on.wall_clock.now_us()
        for request in await self._on.repository.every((State.READY,)):
            if request.package is not None and request.package.expire_us <= now_us:
                await self._expire(request, request.package)
        if self._on.monotonic_clock.now_us() >= self._look_at_us:
            await self._leftovers.destroy()
            self._look_at_us = self._on.monotonic_clock.now_us() + _LEFTOVERS_US

    async def _pause(self, seconds: float) -> None:
        sleeping = asyncio.ensure_future(self._on.monotonic_clock.sleep(seconds))
        waking = asyncio.ensure_future(self._wake.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sleeping, waking):
                task.cancel()
            await asyncio.gather(sleeping, waking, return_exceptions=True)

    async def _make(self, request: EvidenceRequest) -> None:
        """Bring one request to READY or FAILED; a request withdrawn meanwhile is left alone.

        One that the store kept from being made is left as it is, for the next pass.
        """
        begun_us = self._on.monotonic_clock.now_us()
        folder = self._on.work_directory / request.request
        folder.mkdir(parents=True, exist_ok=True)
        try:
            await self._await_hold(request)
            self._on.faults.reach("evidence.held")
            built = await self._build(request, folder / "package.zip")
            self._on.faults.reach("evidence.built")
            await self._finish(request, built)
            self._on.faults.reach("evidence.ready")
            self._seconds.observe((self._on.monotonic_clock.now_us() - begun_us) / 1e6)
            self._finished.labels(str(State.READY)).inc()
        except VigieError as error:
            if error.reason is reasons.EVIDENCE_STATE_WRONG:
                log.info("evidence_build_abandoned", request=request.request)
                self._look_at_us = 0  # it may have been stored already
                return
            if error.reason is STORE_UNAVAILABLE:
                await self._await_store(request, error)
                return
            if error.reason is DATABASE_UNAVAILABLE:
                raise  # nothing can be said of the request; it is begun again
            await self._fail(request, error.reason.name, error.message)
        except RejectedError as error:
            await self._fail(request, reasons.EVIDENCE_PACKAGE_REJECTED.name, str(error))
        except Exception as error:
            # The boundary of a unit of work: this request fails, the others go on.
            log.exception("evidence_build_failed", request=request.request)
            await self._fail(request, "INTERNAL_ERROR", type(error).__name__)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _await_hold(self, request: EvidenceRequest) -> None:
        """Wait until the hold is applied, for as long as recording may take while it answers.

        The time in which it does not answer, or the log that would tell it of the hold is away (it
        answers nobody then), does not count: a decision that people have made is not undone by it.
        """
        deadline = self._deadline(self._on.config.hold_timeout_seconds)
        pause = _FIRST_RETRY_SECONDS
        while True:
            try:
                if await self._on.recordings.hold_applied(request.hold):
                    break
            except grpc.aio.AioRpcError as error:
                if error.code() in _TRANSIENT:
                    deadline = self._deadline(self._on.config.hold_timeout_seconds)
                # Recording may learn of the hold a moment later than we ask.
                elif error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
            if self._on.monotonic_clock.now_us() >= deadline:
                raise VigieError(reasons.EVIDENCE_HOLD_TIMEOUT, f"holds/{request.hold}")
            await self._on.monotonic_clock.sleep(pause)
            pause = min(2 * pause, _RETRY_SECONDS)
        await self._step(request, "HELD", f"holds/{request.hold}", State.BUILDING)

    async def _await_store(self, request: EvidenceRequest, error: VigieError) -> None:
        """Wait for the store, however long it is away; the next pass begins the package again.

        A decision that people have made is not undone by a server that restarts.
        """
        log.warning("evidence_build_waits", request=request.request, error=str(error))
        self.wake()
        while True:
            await self._on.monotonic_clock.sleep(_RETRY_SECONDS)
            try:
                await self._on.store.check()
            except VigieError as still:
                if still.reason is not STORE_UNAVAILABLE:
                    return  # the next pass meets it and says so
            else:
                log.info("evidence_build_goes_on", request=request.request)
                return

    async def _build(self, request: EvidenceRequest, path: Path) -> Built:
        deadline = self._deadline(self._on.config.pending_timeout_seconds)
        loop = asyncio.get_running_loop()
        noted = -1

        def progress(permille: int) -> None:
            nonlocal noted
            if permille // 50 != noted // 50:
                noted = permille
                asyncio.run_coroutine_threadsafe(self._note_progress(request, permille), loop)

        while True:
            custody = await self._on.repository.custody(request.request)
            current = await self._on.repository.get(request.request)
            try:
                await asyncio.to_thread(path.unlink, missing_ok=True)
                return await self._on.builder.build(current or request, custody, path, progress)
            except VigieError as error:
                if error.reason is reasons.EVIDENCE_ZONES_UNKNOWN:
                    deadline = self._deadline(self._on.config.pending_timeout_seconds)
                elif error.reason is not reasons.EVIDENCE_PENDING_FOOTAGE:
                    raise
                if self._on.monotonic_clock.now_us() >= deadline:
                    raise
            except grpc.aio.AioRpcError as error:
                if error.code() not in _TRANSIENT:
                    raise
                # As for the hold: time in which recording does not answer does not count.
                deadline = self._deadline(self._on.config.pending_timeout_seconds)
            await self._on.monotonic_clock.sleep(_RETRY_SECONDS)

    async def _note_progress(self, request: EvidenceRequest, permille: int) -> None:
        await self._on.repository.set_progress(request.request, permille)
        self._on.watch.changed(request.request)

    async def _finish(self, request: EvidenceRequest, built: Built) -> None:
        """Verify, store, compare what is stored, and only then release: READY is verified."""
        changes = {"missing": built.missing}
        await self._step(request, "BUILT", f"{len(built.manifest.files)} files", State.VERIFYING,
                         changes)  # fmt: skip
        state = FileState.of(await asyncio.to_thread(built.path.stat))
        sha256 = await verify_built(built.path, self._on.signer.certificate)
        key = package_key(request.request)
        if not await self._on.repository.leads():
            raise VigieError(reasons.EVIDENCE_STATE_WRONG, f"{request.name}: another makes it")
        # What an attempt left that died before the release: nobody was given it, and no two builds
        # are the same to the byte.
        await self._on.store.delete(key)
        self._on.faults.reach("evidence.storing")
        stored = await self._on.store.put_file(
            key,
            built.path,
            sha256=sha256,
            content_type=CONTENT_TYPE,
            metadata={},
            written=state,
        )
        self._on.faults.reach("evidence.stored")
        size_bytes = stored.info.size_bytes
        await compare_stored(self._on.store, key, sha256, state)
        self._on.faults.reach("evidence.verified")
        now_us = self._on.wall_clock.now_us()
        package = PackageInfo(
            object_key=key,
            file_name=f"vigie-evidence-{request.request}.zip",
            size_bytes=size_bytes,
            sha256=sha256,
            signer_fingerprint=self._on.signer.fingerprint,
            ready_us=now_us,
            expire_us=now_us + self._on.config.package_days * _DAY_US,
        )
        changes_ready = {"package": package, "progress_permille": 1000}
        await self._step(request, "VERIFIED", f"SHA-256 {sha256}", State.READY, changes_ready)

    async def _expire(self, request: EvidenceRequest, package: PackageInfo) -> None:
        """Destroy a package; one that the store keeps is tried again at every pass."""
        try:
            await self._on.store.delete(package.object_key)
        except VigieError as error:
            if error.reason not in {OBJECT_HELD, OBJECT_RETAINED}:
                raise
            if request.request not in self._kept:
                self._kept.add(request.request)
                log.warning("evidence_package_kept", request=request.request, error=str(error))
            return
        try:
            await self._step(request, "EXPIRED", package.object_key, State.EXPIRED)
        except VigieError as error:
            # Another process leads by now: it finds the package gone and tells of it.
            if error.reason is not reasons.EVIDENCE_STATE_WRONG:
                raise

    async def _fail(self, request: EvidenceRequest, failure: str, detail: str) -> None:
        self._finished.labels(failure).inc()
        self._look_at_us = 0
        log.error("evidence_package_failed", request=request.request, reason=failure, detail=detail)
        try:
            changes = {"failure": failure, "failure_detail": detail}
            await self._step(request, "FAILED", f"{failure}: {detail}", State.FAILED, changes)
        except VigieError as error:
            if error.reason is not reasons.EVIDENCE_STATE_WRONG:
                raise

    async def _step(
        self,
        request: EvidenceRequest,
        action: str,
        detail: str,
        state: State,
        changes: Mapping[str, object] | None = None,
    ) -> None:
        step = Step(action, PRODUCT, detail, dict(changes or {}), state)
        await self._on.repository.advance(request.request, step, leading=True)
        self._on.watch.changed(request.request)

    def _deadline(self, seconds: int) -> int:
        return self._on.monotonic_clock.now_us() + seconds * 1_000_000
