"""Keeps a keeper for every camera that is this process's own, and the clock for all of them."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog

from vigie.ingest import metrics
from vigie.ingest.live.channel import LiveHub
from vigie.ingest.supervisor.cameras import CameraAssignment
from vigie.ingest.supervisor.keeper import CameraKeeper, KeeperTools
from vigie.ingest.supervisor.outages import OutageBook
from vigie.ingest.supervisor.outbox import Outbox
from vigie.ingest.supervisor.sink import SinkTargets
from vigie.ingest.supervisor.status import StatusBoard
from vigie.ingest.upload.events import status_removed
from vigie.ingest.v1 import events_pb2
from vigie.ingest.writepath import WritePath
from vigie.platform.clock import MICROSECONDS_PER_SECOND, MonotonicClock, WallClock
from vigie.platform.eventlog.table import CompactedTable
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.supervisor import Supervisor
from vigie.registry.v1.events_pb2 import CameraState

_log = structlog.get_logger(__name__)

LONGEST_TICK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class ReceptionTools:
    """What the supervisor stands on."""

    instance: str
    new_id: Callable[[], str]
    keepers: KeeperTools
    path: WritePath
    hub: LiveHub
    segments: Outbox
    statuses: Outbox
    assignment: CameraAssignment
    wall_clock: WallClock
    monotonic_clock: MonotonicClock
    registry: MetricsRegistry
    tasks: Supervisor
    heartbeat_seconds: float
    address: Callable[[], str] = str


class ReceptionSupervisor:
    """Starts, changes and stops the reception of cameras.

    Args:
        cameras: desired state of all cameras.
        tools: what it stands on.
    """

    def __init__(self, cameras: CompactedTable[CameraState], tools: ReceptionTools) -> None:
        self._cameras = cameras
        self._tools = tools
        self._keepers: dict[str, CameraKeeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._background: list[asyncio.Task[None]] = []
        self._stopping = False
        registry = tools.registry
        self._frames = registry.counter(metrics.FRAMES)
        self._bytes = registry.counter(metrics.BYTES)
        self._age = registry.gauge(metrics.LAST_FRAME_AGE)
        self._offset = registry.gauge(metrics.CLOCK_OFFSET)
        self._streams = registry.gauge(metrics.STREAMS)
        self._rejected = registry.gauge(metrics.STATES_REJECTED)

    async def start(self) -> None:
        """Take over the cameras (the table has been read)."""
        self._cameras.on_change(self._changed)
        self._tools.assignment.on_change(self._reassigned)
        self._reassigned()
        spawn = self._tools.tasks.spawn
        self._background = [
            spawn("ingest-clock", self._watch_clock()),
            spawn("ingest-heartbeat", self._beat()),
        ]

    def keeper(self, camera: str) -> CameraKeeper | None:
        """The keeper of a camera that is this process's own."""
        return self._keepers.get(camera)

    async def stop(self, *, timeout_seconds: float) -> bool:
        """End all sessions: each delivers its last group; false when time ran out."""
        self._stopping = True
        for task in self._background:
            task.cancel()
        for keeper in self._keepers.values():
            keeper.leave(tell=True)
        tasks = set(self._tasks.values())
        if not tasks:
            return True
        _, pending = await asyncio.wait(tasks, timeout=timeout_seconds)
        for task in pending:
            task.cancel()
        return not pending

    # --- inside ---------------------------------------------------------------------------------

    def _changed(self, camera: str, before: CameraState | None, now: CameraState | None) -> None:
        if self._stopping:
            return
        if now is None or not self._tools.assignment.is_mine(camera):
            self._let_go(camera)
            if now is None:
                event_id, now_us = self._tools.new_id(), self._tools.wall_clock.now_us()
                self._tools.statuses.put(camera, status_removed(camera, event_id, now_us))
            return
        if before is not None and now.revision < before.revision:
            _log.warning("camera_state_older", camera=camera, revision=now.revision)
        keeper = self._keepers.get(camera)
        if keeper is None:
            self._take_over(camera, now)
        else:
            keeper.update(now)

    def _reassigned(self) -> None:
        for camera in list(self._keepers):
            if not self._tools.assignment.is_mine(camera):
                self._let_go(camera)
        if self._stopping:
            return  # nobody would tell a new keeper to leave, and the engines stop
        for camera, state in self._cameras.items.items():
            if camera not in self._keepers and self._tools.assignment.is_mine(camera):
                self._take_over(camera, state)

    def _take_over(self, camera: str, state: CameraState) -> None:
        keeper = self._keeper(camera)
        keeper.update(state)
        self._keepers[camera] = keeper
        # Released and taken again: one connection to a camera, so the old one ends first.
        before = self._tasks.get(camera)
        task = self._tools.tasks.spawn(f"camera-{camera}", _after(before, keeper))
        task.add_done_callback(lambda done: self._ended(camera, done))
        self._tasks[camera] = task

    def _ended(self, camera: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(camera) is not task:
            return
        del self._tasks[camera]
        keeper = self._keepers.get(camera)
        if keeper is not None and keeper.is_retired:
            del self._keepers[camera]
            self._forget(camera)

    def _let_go(self, camera: str) -> None:
        keeper = self._keepers.pop(camera, None)
        if keeper is not None:
            keeper.leave(tell=False)
            self._forget(camera)

    def _forget(self, camera: str) -> None:
        """Cameras come and go for years: nothing of one that is gone is kept or counted."""
        self._tools.hub.forget(camera)
        by_camera = (self._frames, self._bytes, self._age, self._offset, self._tools.keepers.gaps)
        for metric in by_camera:
            # The library has no other way to ask.
            for labels in [known for known in metric._metrics if known[0] == camera]:  # noqa: SLF001
                metric.remove(*labels)

    def _keeper(self, camera: str) -> CameraKeeper:
        tools = self._tools
        status = StatusBoard(
            camera,
            instance=tools.instance,
            new_id=tools.new_id,
            publish=tools.statuses.put,
            address=tools.address,
        )
        outages = OutageBook(
            camera, instance=tools.instance, new_id=tools.new_id, publish=tools.segments.put
        )
        keeper = CameraKeeper(camera, tools=tools.keepers, status=status, outages=outages)
        intake = tools.path.intake(
            camera, segment_seconds=tools.keepers.segment_seconds, listener=keeper
        )
        keeper.attach(
            SinkTargets(
                intake=intake,
                channel=tools.hub.channel(camera),
                facts=status.facts,
                rates=status.rates,
                frames=self._frames.labels(camera=camera),
                size_bytes=self._bytes.labels(camera=camera),
            )
        )
        return keeper

    async def _watch_clock(self) -> None:
        """Start and stop cameras when authorisations begin and end."""
        while True:
            now_us = self._tools.wall_clock.now_us()
            instants = [keeper.tick(now_us) for keeper in self._keepers.values()]
            seconds = LONGEST_TICK_SECONDS
            ahead = [instant - now_us for instant in instants if instant is not None]
            if ahead:
                seconds = min(seconds, max(0.0, min(ahead) / MICROSECONDS_PER_SECOND))
            # Never zero: an instant that was reached is dealt with by the keeper's own task.
            await self._tools.monotonic_clock.sleep(max(seconds, 0.005))

    async def _beat(self) -> None:
        while True:
            await self._tools.monotonic_clock.sleep(self._tools.heartbeat_seconds)
            now_us = self._tools.wall_clock.now_us()
            for keeper in self._keepers.values():
                keeper.heartbeat(now_us)
            self._measure(now_us)

    def _measure(self, now_us: int) -> None:
        states = dict.fromkeys(events_pb2.StreamState.values()[1:], 0)
        for camera, keeper in self._keepers.items():
            status = keeper.status
            states[status.state] += 1
            last_us, offset_us = status.facts.last_frame_us, status.facts.camera_clock_offset_us
            age = (now_us - last_us) / MICROSECONDS_PER_SECOND if last_us else -1.0
            self._age.labels(camera=camera).set(age)
            if offset_us is not None:
                self._offset.labels(camera=camera).set(offset_us / MICROSECONDS_PER_SECOND)
        for state, count in states.items():
            name = events_pb2.StreamState.Name(state).removeprefix("STREAM_STATE_").lower()
            self._streams.labels(state=name).set(count)
        self._rejected.set(len(self._cameras.unparsable))


async def _after(before: "asyncio.Task[None] | None", keeper: CameraKeeper) -> None:
    if before is not None and not before.done():
        await asyncio.wait({before})
    await keeper.run()
