"""The evidence context as the wiring sees it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from vigie.evidence import repository as repo
from vigie.evidence.builder import PackageBuilder
from vigie.evidence.recordings import RecordingClient
from vigie.evidence.service import Dependencies, EvidenceService
from vigie.evidence.settings import EvidenceConfig
from vigie.evidence.signer import Signer, load_signer
from vigie.evidence.tables import MIGRATIONS
from vigie.evidence.v1 import evidence_service_pb2_grpc as pb_grpc
from vigie.evidence.watch import RequestWatch
from vigie.evidence.worker import EvidenceWorker, WorkerDependencies
from vigie.platform.clock import MonotonicClock, WallClock
from vigie.platform.database import Database, migrate
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog, Position, StoredEvent
from vigie.platform.eventlog.events import parse_event
from vigie.platform.eventlog.table import CompactedTable
from vigie.platform.faultpoint import NO_FAULTS, FaultPoints
from vigie.platform.grpc.client import ServiceClients
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import ServiceBinding
from vigie.platform.objectstore import ObjectStore
from vigie.platform.paging import Tokens
from vigie.platform.reasons import STOPPING
from vigie.platform.supervisor import Supervisor
from vigie.registry.v1.events_pb2 import CameraState

log = structlog.get_logger(__name__)
CAMERAS_TOPIC = "cameras"
_LISTEN_AGAIN_SECONDS = 1.0
SERVICE = "vigie.evidence.v1.EvidenceService"


@dataclass(frozen=True, slots=True)
class Platform:
    """What this context stands on."""

    database: Database
    event_log: EventLog
    store: ObjectStore
    clients: ServiceClients
    supervisor: Supervisor
    metrics: MetricsRegistry
    wall_clock: WallClock
    monotonic_clock: MonotonicClock
    identifiers: IdentifierSource
    tokens: Tokens
    data_directory: Path
    version: str
    faults: FaultPoints = NO_FAULTS


class EvidenceModule:
    """Requests, packages, downloads."""

    name = "evidence"

    def __init__(self, config: EvidenceConfig, platform: Platform) -> None:
        self._platform = platform
        self._config = config
        self._cameras: CompactedTable[CameraState] = CompactedTable(
            platform.event_log, CAMERAS_TOPIC, _parse_camera, platform.monotonic_clock,
            overtaken=_overtaken,
        )  # fmt: skip
        self._repository = repo.EvidenceRepository(
            platform.database, platform.event_log, platform.wall_clock, platform.identifiers
        )
        self._watch = RequestWatch(self._repository)
        self._recordings = RecordingClient(platform.clients)
        self._worker: EvidenceWorker | None = None
        self._task: asyncio.Task[None] | None = None
        self._listening: asyncio.Task[None] | None = None
        self._service = EvidenceService(
            Dependencies(
                repository=self._repository,
                cameras=self._cameras,
                recordings=self._recordings,
                store=platform.store,
                watch=self._watch,
                wall_clock=platform.wall_clock,
                identifiers=platform.identifiers,
                tokens=platform.tokens,
                config=config,
                metrics=platform.metrics,
            )
        )

    def services(self) -> Sequence[ServiceBinding]:
        """EvidenceService."""
        register = pb_grpc.add_EvidenceServiceServicer_to_server
        return (ServiceBinding(SERVICE, self._service, register),)

    async def start(self) -> None:
        """Bring the tables up to date, know the cameras, begin to build what is approved.

        Raises:
            VigieError: DATA_NEWER_THAN_PROGRAM, CONFIG_INVALID (the signing key), TOPIC_UNKNOWN.
        """
        platform = self._platform
        await migrate(platform.database, MIGRATIONS)
        await self._cameras.start()
        signer = await asyncio.to_thread(
            load_signer, self._config, platform.data_directory, platform.wall_clock
        )
        self._worker = self._make_worker(signer)
        self._watch.on_change(self._worker.wake)
        self._task = platform.supervisor.spawn("evidence-worker", self._worker.run())
        self._listening = platform.supervisor.spawn("evidence-listener", self._listen())

    async def _listen(self) -> None:
        """Hear from the log what other processes have done to requests, until cancelled."""
        event_log, reached = self._platform.event_log, dict[int, Position]()
        known = False
        while True:
            try:
                if not known:
                    ends = await event_log.ends(repo.REQUESTS_TOPIC)
                    reached, known = {end.partition: end for end in ends}, True
                places = list(reached.values())
                async for stored in event_log.read(repo.REQUESTS_TOPIC, after=places, follow=True):
                    reached[stored.position.partition] = stored.position
                    self._watch.changed(stored.event.key)
            except VigieError as error:
                if error.reason is STOPPING:
                    return
                log.debug("evidence_listener_waits", error=str(error))
                await self._platform.monotonic_clock.sleep(_LISTEN_AGAIN_SECONDS)

    def _make_worker(self, signer: Signer) -> EvidenceWorker:
        platform = self._platform
        builder = PackageBuilder(
            store=platform.store,
            recordings=self._recordings,
            cameras=self._cameras,
            signer=signer,
            wall_clock=platform.wall_clock,
            installation=self._config.installation,
            version=platform.version,
            gap_settle_us=self._config.gap_settle_seconds * 1_000_000,
        )
        return EvidenceWorker(
            WorkerDependencies(
                repository=self._repository,
                recordings=self._recordings,
                builder=builder,
                signer=signer,
                store=platform.store,
                watch=self._watch,
                wall_clock=platform.wall_clock,
                monotonic_clock=platform.monotonic_clock,
                config=self._config,
                work_directory=platform.data_directory / "evidence-work",
                metrics=platform.metrics,
                faults=platform.faults,
            )
        )

    def not_ready(self) -> str | None:
        """See `Module.not_ready`."""
        if self._task is None or self._task.done():
            return "the builder of packages is not running"
        return self._cameras.not_ready()

    def broken(self) -> str | None:
        """See `Breakable.broken`."""
        gone = self._task is not None and self._task.done()
        return "the builder of packages is not running" if gone else None

    async def stop(self, *, timeout_seconds: float) -> None:
        """Stop building (a package begun is begun again at the next start)."""
        tasks = {task for task in (self._task, self._listening) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=timeout_seconds)
        await self._cameras.stop()


def _parse_camera(stored: StoredEvent) -> CameraState:
    return parse_event(stored, CameraState)


def _overtaken(state: CameraState, standing: CameraState) -> bool:
    """Whether a state that comes after another one was decided before it: it came once more."""
    decided_us, standing_us = (each.effective_time.ToMicroseconds() for each in (state, standing))
    return state.revision < standing.revision and decided_us <= standing_us
