"""A whole registry on a real database, event log and gRPC host, and ways to fill it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc.aio

from vigie.ingest.v1.probe_pb2 import ProbeSourceRequest, ProbeSourceResponse
from vigie.platform.clock import ManualMonotonicClock, ManualWallClock
from vigie.platform.database.embedded import EmbeddedDatabase
from vigie.platform.eventlog.embedded import EmbeddedEventLog
from vigie.platform.grpc.client import ClientError
from vigie.platform.grpc.testing import RunningHost, caller_with
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.sealing import Sealer
from vigie.registry.module import RegistryModule
from vigie.registry.v1 import authorisations_pb2 as authorisation_messages
from vigie.registry.v1 import cameras_pb2 as camera_messages
from vigie.registry.v1 import zones_pb2 as zone_messages
from vigie.registry.v1.authorisations_pb2_grpc import AuthorisationServiceStub
from vigie.registry.v1.cameras_pb2_grpc import CameraServiceStub
from vigie.registry.v1.events_pb2 import CameraState
from vigie.registry.v1.zones_pb2_grpc import ZoneServiceStub

NOW = datetime(2026, 3, 10, 8, 0, tzinfo=UTC)
EVERYTHING = (
    "registry.read",
    "registry.write",
    "cameras.read",
    "cameras.write",
    "cameras.operate",
    "cameras.probe",
    "authorisations.read",
    "authorisations.write",
)
CALLERS = {
    "chief": caller_with("chief", *EVERYTHING),
    "north": caller_with("north", *EVERYTHING, zones=["zae-north"]),
    "reader": caller_with("reader", "cameras.read", "registry.read", zones=["zae-north"]),
    "nobody": caller_with("nobody"),
}


class ScriptedProber:
    """Answers as told and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[ProbeSourceRequest] = []
        self.answer = ProbeSourceResponse(reachable=True, codec="avc1.640028", width=1920)
        self.failure: Exception | None = None

    async def probe(
        self, request: ProbeSourceRequest, *, timeout_seconds: float
    ) -> ProbeSourceResponse:
        self.asked.append(request)
        if self.failure is not None:
            raise self.failure
        return self.answer


@dataclass
class Registry:
    """The registry that is tested, and what stands around it."""

    module: RegistryModule
    host: RunningHost
    database: EmbeddedDatabase
    event_log: EmbeddedEventLog
    wall_clock: ManualWallClock
    monotonic_clock: ManualMonotonicClock
    sealer: Sealer
    prober: ScriptedProber
    metrics: MetricsRegistry
    folder: Path

    def cameras(self, token: str = "chief") -> CameraServiceStub:
        return CameraServiceStub(self.host.channel(token))

    def zones(self, token: str = "chief") -> ZoneServiceStub:
        return ZoneServiceStub(self.host.channel(token))

    def authorisations(self, token: str = "chief") -> AuthorisationServiceStub:
        return AuthorisationServiceStub(self.host.channel(token))

    async def states(self, camera: str) -> list[CameraState]:
        """Every event of a camera, oldest first."""
        return [state for state, _ in await self.told(camera)]

    async def told(self, camera: str) -> list[tuple[CameraState, int]]:
        """The same, each with when it was told."""
        return [
            (CameraState.FromString(stored.event.value or b""), stored.event.time_us)
            async for stored in self.event_log.read("cameras")
            if stored.event.key == camera
        ]

    async def ground(self) -> None:
        """Two communes with a zone each, and a site in the north."""
        zones = self.zones()
        for insee, name in (("63113", "Northtown"), ("63300", "Southtown")):
            await zones.CreateCommune(
                zone_messages.CreateCommuneRequest(
                    insee_code=insee, commune=zone_messages.Commune(display_name=name)
                )
            )
        for zone, insee in (("zae-north", "63113"), ("zae-south", "63300")):
            await zones.CreateZone(
                zone_messages.CreateZoneRequest(
                    zone_id=zone,
                    zone=zone_messages.Zone(display_name=zone, commune=f"communes/{insee}"),
                )
            )
        await zones.CreateSite(
            zone_messages.CreateSiteRequest(
                site_id="mast-1",
                site=zone_messages.Site(display_name="Mast 1", zone="zones/zae-north"),
            )
        )

    async def camera(
        self,
        camera_id: str = "cam-01",
        *,
        zone: str = "zae-north",
        uri: str = "rtsp://10.0.0.8:554/stream1",
        commission: bool = False,
        credentials: tuple[str, str] | None = None,
    ) -> camera_messages.Camera:
        """A new camera."""
        message = camera_messages.Camera(
            display_name=f"Camera {camera_id}", zone=f"zones/{zone}", stream_uri=uri
        )
        if credentials:
            message.credentials.username, message.credentials.password = credentials
        camera = await self.cameras().CreateCamera(
            camera_messages.CreateCameraRequest(camera_id=camera_id, camera=message)
        )
        if commission:
            camera = await self.cameras().CommissionCamera(
                camera_messages.CommissionCameraRequest(name=camera.name)
            )
        return camera

    async def authorisation(
        self,
        authorisation_id: str = "a-1",
        *,
        cameras: tuple[str, ...] = (),
        zones: tuple[str, ...] = (),
        valid_from: datetime = datetime(2026, 1, 1, tzinfo=UTC),
        valid_until: datetime = datetime(2029, 1, 1, tzinfo=UTC),
        retention_days: int = 0,
    ) -> authorisation_messages.Authorisation:
        """A new authorisation."""
        message = authorisation_messages.Authorisation(
            number=f"2026/{authorisation_id}",
            prefecture="Puy-de-Dôme",
            purposes=[authorisation_messages.AUTHORISATION_PURPOSE_PERSONS_AND_PROPERTY],
            cameras=[f"cameras/{camera}" for camera in cameras],
            zones=[f"zones/{zone}" for zone in zones],
            retention_days=retention_days,
        )
        message.valid_from.FromDatetime(valid_from)
        message.valid_until.FromDatetime(valid_until)
        return await self.authorisations().CreateAuthorisation(
            authorisation_messages.CreateAuthorisationRequest(
                authorisation_id=authorisation_id, authorisation=message
            )
        )


@asynccontextmanager
async def refused(reason: str, field: str | None = None) -> AsyncIterator[list[ClientError]]:
    """Expect a call to be refused with a reason (and a field at fault); gives the error."""
    seen: list[ClientError] = []
    try:
        yield seen
    except grpc.aio.AioRpcError as error:
        found = ClientError.of(error)
        seen.append(found)
        assert found.reason == reason, found
        if field is not None:
            assert field in [violation.field for violation in found.violations], found.violations
        return
    raise AssertionError(f"expected {reason}")
