"""Cameras that come and go, misbehave and change parameters; some that only do their work."""

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import grpc
import grpc.aio
from google.protobuf.field_mask_pb2 import FieldMask

from e2e import estate
from e2e.callers import timelines
from e2e.harness import WALL, Installation, until
from faults import misdeeds
from vigie.platform.grpc.client import ClientError
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc, zones_pb2, zones_pb2_grpc
from vigie.simcam import FAULTS, CameraConfig, Credentials, Fault, FootageSpec
from vigie.simcam.client import SimCamProcess

ZONES: Final = ("zone-a", "zone-b", "zone-c")
_LOGIN: Final = Credentials(username="vigie", password=estate.PASSWORD)
_SMALL: Final = {"width": 192, "height": 96, "frames_per_second": 8, "gop_frames": 24}
_FOOTAGE: Final = (
    FootageSpec(**_SMALL, frame_count=96, bitrate_bps=40_000),
    FootageSpec(**_SMALL, frame_count=96, bitrate_bps=40_000, b_frames=2, preset="veryfast"),
    FootageSpec(**_SMALL, frame_count=96, bitrate_bps=40_000, codec="h265"),
)
BUSY: Final = frozenset({"ACCESS_NOT_RECORDED", "EVENT_LOG_UNAVAILABLE", "DEADLINE_EXCEEDED"})
"""What a person is told when the machine is too busy for now: nothing leaves without a record."""
ATTEMPTS: Final = 5
_AT_ONCE: Final = 8
"""Calls to the registry at a time."""


@dataclass(slots=True)
class Slot:
    """A place where a camera hangs; the camera there is replaced now and then.

    Attributes:
        source: the simulated camera.
        address: of it.
        number: counts the cameras that hung here.
        zone: where it is.
        is_steady: nothing is ever done to it.
        otherwise: its address is written with a name.
        busy: something is being done to it.
    """

    source: CameraConfig
    address: str
    number: int = 1
    zone: str = ZONES[0]
    is_steady: bool = False
    otherwise: bool = False
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def camera(self) -> str:
        """The identifier of the camera that hangs here now."""
        return f"{self.source.id}-{self.number}"


async def make_places(vigie: Installation) -> None:
    """A commune with zones, and an order for all of them."""
    stub = vigie.stub(zones_pb2_grpc.ZoneServiceStub, "registry", person="administration")
    commune = zones_pb2.Commune(display_name="Clermont-Ferrand")
    await stub.CreateCommune(zones_pb2.CreateCommuneRequest(insee_code="63113", commune=commune))
    for zone_id in ZONES:
        zone = zones_pb2.Zone(commune="communes/63113", display_name=zone_id)
        await stub.CreateZone(zones_pb2.CreateZoneRequest(zone_id=zone_id, zone=zone))
    await estate.authorise(vigie, "order-all", list(ZONES))


async def insist(call: Callable[[], Awaitable[object]]) -> None:
    """A change of the registry, again when the machine was too busy to put it on record.

    Raises:
        grpc.aio.AioRpcError: the product refuses it.
    """
    for attempt in range(ATTEMPTS):
        try:
            await call()
        except grpc.aio.AioRpcError as error:
            reason = ClientError.of(error).reason or error.code().name
            if reason not in BUSY or attempt == ATTEMPTS - 1:
                raise
        else:
            return


async def enter_cameras(vigie: Installation, cameras: Sequence[tuple[CameraConfig, str]]) -> None:
    """Enter cameras (with their addresses) under their own names, and begin to record."""
    await asyncio.gather(
        *(_enter(vigie, source.id, source, address, ZONES[0]) for source, address in cameras)
    )
    await until_known(vigie, [source.id for source, _ in cameras])


async def until_known(vigie: Installation, cameras: Sequence[str]) -> None:
    """Wait until recording has heard of cameras that were just entered."""

    async def known() -> bool:
        since_us = WALL.now_us() - 1_000_000
        try:
            for start in range(0, len(cameras), 50):
                await timelines(vigie, cameras[start : start + 50], since_us)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
            return False
        return True

    await until(known, "recording knows the cameras", seconds=120)


async def _enter(
    vigie: Installation, camera: str, source: CameraConfig, address: str, zone: str
) -> None:
    entry = cameras_pb2.Camera(zone=f"zones/{zone}", display_name=camera, stream_uri=address)
    if source.credentials is not None:
        entry.credentials.username = source.credentials.username
        entry.credentials.password = estate.PASSWORD
    stub = vigie.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person="administration")
    create = cameras_pb2.CreateCameraRequest(
        camera_id=camera, camera=entry, request_id=str(uuid.uuid4())
    )
    await insist(lambda: stub.CreateCamera(create))
    commission = cameras_pb2.CommissionCameraRequest(
        name=f"cameras/{camera}", reason="mise en service", request_id=str(uuid.uuid4())
    )
    await insist(lambda: stub.CommissionCamera(commission))


def simulated(count: int) -> tuple[CameraConfig, ...]:
    """Small cameras of three kinds; every fifth asks for a password."""
    return tuple(
        CameraConfig(
            id=f"cam-{index:03d}",
            footage=_FOOTAGE[index % len(_FOOTAGE)],
            credentials=_LOGIN if index % 5 == 4 else None,
        )
        for index in range(count)
    )


class Churn:
    """The cameras of a soak.

    Args:
        vigie: the product, running, empty.
        simulator: their source.
        sources: what it simulates.
        steady: how many are left alone.
        chance: what is done is drawn from it.
    """

    def __init__(
        self,
        vigie: Installation,
        simulator: SimCamProcess,
        sources: Sequence[CameraConfig],
        *,
        steady: int,
        chance: random.Random,
    ) -> None:
        self._vigie = vigie
        self._control = simulator.control
        self._chance = chance
        self.slots = [
            Slot(source, simulator.urls[source.id], is_steady=index < steady)
            for index, source in enumerate(sources)
        ]
        self.done: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._absent: set[str] = set()  # being entered
        self._registry_turn = asyncio.Semaphore(_AT_ONCE)

    @property
    def steady(self) -> list[str]:
        """Cameras that are left alone."""
        return [slot.camera for slot in self.slots if slot.is_steady]

    @property
    def cameras(self) -> list[str]:
        """Cameras that hang now."""
        return [slot.camera for slot in self.slots if slot.camera not in self._absent]

    def _stub(self) -> cameras_pb2_grpc.CameraServiceStub:
        make = cameras_pb2_grpc.CameraServiceStub
        return self._vigie.stub(make, "registry", person="administration")

    async def register(self) -> None:
        """Enter places and cameras, and begin to record."""
        await make_places(self._vigie)
        await asyncio.gather(*(self._hang(slot) for slot in self.slots))
        await until_known(self._vigie, self.cameras)

    async def _hang(self, slot: Slot) -> None:
        async with self._registry_turn:
            await _enter(self._vigie, slot.camera, slot.source, slot.address, slot.zone)

    # --- what happens ---------------------------------------------------------------------------

    async def go_on(self, pace: float, until: asyncio.Event) -> None:
        """Do something every so often until told to stop; returns when all of it is over.

        Args:
            pace: deeds a second.
            until: set when it is enough.

        Raises:
            Exception: a deed could not be done.
        """
        deeds: list[tuple[str, Callable[[Slot], Awaitable[None]], int]] = [
            ("misbehaved", self._misbehave, 10),
            ("replaced", self._replace, 1),
            ("suspended", self._suspend, 1),
            ("set up anew", self._change, 1),
            ("moved", self._move, 1),
        ]
        weights = [weight for _, _, weight in deeds]
        while not until.is_set():
            name, deed, _ = self._chance.choices(deeds, weights)[0]
            slot = self._chance.choice([slot for slot in self.slots if not slot.is_steady])
            if not slot.busy.locked():
                task = asyncio.create_task(self._do(name, deed, slot))
                self._tasks.add(task)
            for task in [task for task in self._tasks if task.done()]:
                self._tasks.discard(task)
                task.result()
            await asyncio.sleep(1 / pace)
        await asyncio.gather(*self._tasks)

    async def _do(self, name: str, deed: Callable[[Slot], Awaitable[None]], slot: Slot) -> None:
        async with slot.busy:
            await deed(slot)
        self.done[name] += 1

    async def _misbehave(self, slot: Slot) -> None:
        possible = [
            fault
            for fault in FAULTS
            if fault not in misdeeds.NEEDS_A_PASSWORD or slot.source.credentials is not None
        ]
        drawn = misdeeds.combination(self._chance, possible, self._chance.choice([1, 1, 1, 2, 3]))
        for misdeed in drawn:
            await asyncio.sleep(misdeed.after)
            await misdeeds.inject(self._control, slot.source.id, misdeed)
            self.done[misdeed.fault.value] += 1
        await asyncio.sleep(max((misdeed.seconds or 0.0) for misdeed in drawn) + 0.2)

    async def _replace(self, slot: Slot) -> None:
        request = cameras_pb2.RetireCameraRequest(
            name=f"cameras/{slot.camera}", reason="remplacée", request_id=str(uuid.uuid4())
        )
        await insist(lambda: self._stub().RetireCamera(request))
        slot.number += 1
        self._absent.add(slot.camera)
        await self._hang(slot)
        self._absent.discard(slot.camera)

    async def _suspend(self, slot: Slot) -> None:
        name = f"cameras/{slot.camera}"
        suspend = cameras_pb2.SuspendCameraRequest(
            name=name, reason="travaux", request_id=str(uuid.uuid4())
        )
        await insist(lambda: self._stub().SuspendCamera(suspend))
        await asyncio.sleep(self._chance.uniform(0.2, 4))
        resume = cameras_pb2.ResumeCameraRequest(
            name=name, reason="travaux finis", request_id=str(uuid.uuid4())
        )
        await insist(lambda: self._stub().ResumeCamera(resume))

    async def _change(self, slot: Slot) -> None:
        """Another length of segments, and the address written differently: connect anew."""
        camera = cameras_pb2.Camera(name=f"cameras/{slot.camera}")
        camera.segment_seconds = self._chance.randint(10, 30)
        paths = ["segment_seconds"]
        if self._chance.random() < 0.5:
            slot.otherwise = not slot.otherwise
            there = "localhost" if slot.otherwise else "127.0.0.1"
            camera.stream_uri = slot.address.replace("127.0.0.1", there)
            paths.append("stream_uri")
            if slot.source.credentials is not None:  # never carried to another host
                camera.credentials.username = "vigie"
                camera.credentials.password = estate.PASSWORD
                paths.append("credentials")
        request = cameras_pb2.UpdateCameraRequest(
            camera=camera, update_mask=FieldMask(paths=paths), request_id=str(uuid.uuid4())
        )
        await insist(lambda: self._stub().UpdateCamera(request))

    async def _move(self, slot: Slot) -> None:
        slot.zone = self._chance.choice([zone for zone in ZONES if zone != slot.zone])
        request = cameras_pb2.MoveCameraRequest(
            name=f"cameras/{slot.camera}",
            zone=f"zones/{slot.zone}",
            reason="autre mât",
            request_id=str(uuid.uuid4()),
        )
        await insist(lambda: self._stub().MoveCamera(request))

    async def lateness_us(self) -> int:
        """How late the simulator was at worst since the last call."""
        return await self._control.worst_lateness_us()

    async def calm(self) -> None:
        """End every fault."""
        for slot in self.slots:
            await self._control.clear(slot.source.id)


def count_of_faults(done: Counter[str]) -> int:
    """How many faults of cameras there were."""
    return sum(done[fault.value] for fault in Fault)
