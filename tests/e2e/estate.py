"""The estate of the end-to-end tests: cameras that behave, cameras that do not, people."""

import asyncio
from collections.abc import Iterable
from typing import Final

from e2e.harness import WALL, Installation
from vigie.registry.v1 import (
    authorisations_pb2,
    authorisations_pb2_grpc,
    cameras_pb2,
    cameras_pb2_grpc,
    zones_pb2,
    zones_pb2_grpc,
)
from vigie.simcam import FAULTS, CameraConfig, Credentials, Fault, FootageSpec, Quirk

DAY_US: Final = 86_400_000_000
PASSWORD: Final = "Ochs-und-Esel-4711"
"""Must never be seen anywhere but on the wire to the camera (I11)."""

PEOPLE: Final = """\
[agencies.csu]
name = "Centre de supervision urbain"
[agencies.gendarmerie]
name = "Gendarmerie nationale"

[people.administration]
name = "Administration technique"
agency = "csu"
roles = ["administrator"]
zones = ["*"]

[people.operateur]
name = "Poste opérateur"
agency = "csu"
roles = ["operator"]
zones = ["*"]

[people.operateur-sud]
name = "Poste du sud"
agency = "csu"
roles = ["operator"]
zones = ["zone-sud"]

[people.remplacant]
name = "Remplaçant"
agency = "csu"
roles = ["operator"]
zones = ["*"]
suspended = false

[people.enqueteur]
name = "Unité de recherches"
agency = "gendarmerie"
roles = ["investigator"]
zones = ["*"]

[people.juge-et-partie]
name = "Chef d'unité"
agency = "gendarmerie"
roles = ["investigator", "supervisor"]
zones = ["*"]

[people.responsable]
name = "Responsable du CSU"
agency = "csu"
roles = ["supervisor"]
zones = ["*"]

[people.controle]
name = "Commission de contrôle"
agency = "csu"
roles = ["auditor"]
zones = ["*"]
"""

_H264 = FootageSpec(width=320, height=180, frame_count=100, bitrate_bps=250_000)
_H264_B = FootageSpec(
    width=320, height=180, frame_count=100, bitrate_bps=250_000, b_frames=2, preset="veryfast"
)
_H265 = FootageSpec(codec="h265", width=320, height=180, frame_count=100, bitrate_bps=200_000)
_H265_B = FootageSpec(
    codec="h265", width=320, height=180, frame_count=100, bitrate_bps=200_000, b_frames=2
)
_SMALL = FootageSpec(width=192, height=96, frame_count=50, bitrate_bps=120_000)
_LOGIN = Credentials(username="vigie", password=PASSWORD, schemes=("digest-sha256", "digest-md5"))

HEALTHY: Final = {
    "cam-h264": CameraConfig(id="cam-h264", footage=_H264, has_audio=True),
    "cam-h264-b": CameraConfig(id="cam-h264-b", footage=_H264_B),
    "cam-h265": CameraConfig(id="cam-h265", footage=_H265),
    "cam-h265-b": CameraConfig(
        id="cam-h265-b", footage=_H265_B, quirks=frozenset({Quirk.DRESSED_PACKETS})
    ),
    "cam-digest": CameraConfig(id="cam-digest", footage=_H264, credentials=_LOGIN),
}
"""Cameras that do as they should; every frame of them must be there."""
SECURE: Final = CameraConfig(id="cam-rtsps", footage=_H264)
"""The same over TLS, from a simulator of its own."""
EVERY_HEALTHY: Final = (*HEALTHY, SECURE.id)

FAULTY: Final = {f"cam-{fault.value}": fault for fault in FAULTS}
"""Camera -> what it is made to do wrong."""
CHANGING: Final = ("cam-suspended", "cam-retired", "cam-revoked")
"""Cameras whose right to record ends during the tests."""
UNAUTHORISED: Final = "cam-unauthorised"
ZONES: Final = ("zone-nord", "zone-sud", "zone-essais", "zone-revocable", "zone-sans-arrete")


def zone_of(camera: str) -> str:
    """Where a camera of the estate hangs."""
    if camera in FAULTY:
        return "zone-essais"
    if camera == UNAUTHORISED:
        return "zone-sans-arrete"
    if camera == "cam-revoked":
        return "zone-revocable"
    return "zone-sud" if camera == "cam-h265" else "zone-nord"


def simulated() -> tuple[CameraConfig, ...]:
    """Every camera of the plain simulator."""
    simple = [*CHANGING, UNAUTHORISED]
    faulty = [
        # Old nonces can only be refused by a camera that asks for a password.
        CameraConfig(
            id=camera,
            footage=_SMALL,
            credentials=_LOGIN if fault is Fault.STALE_NONCES else None,
            session_timeout_seconds=4 if fault is Fault.STALE_NONCES else 60,
        )
        for camera, fault in FAULTY.items()
    ]
    return (*HEALTHY.values(), *faulty, *(CameraConfig(id=c, footage=_SMALL) for c in simple))


def needs_password(camera: str) -> bool:
    """Whether the camera asks for the password of the estate."""
    return camera in ("cam-digest", f"cam-{Fault.STALE_NONCES.value}")


async def register(vigie: Installation, urls: dict[str, str], cameras: Iterable[str]) -> None:
    """Enter places, cameras and authorisations through the contracts, and begin to record."""
    await places(vigie)
    names = list(cameras)
    stub = vigie.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person="administration")

    async def enter(camera: str) -> None:
        entry = cameras_pb2.Camera(
            zone=f"zones/{zone_of(camera)}", display_name=camera, stream_uri=urls[camera]
        )
        if needs_password(camera):
            entry.credentials.username = "vigie"
            entry.credentials.password = PASSWORD
        await stub.CreateCamera(cameras_pb2.CreateCameraRequest(camera_id=camera, camera=entry))

    await asyncio.gather(*(enter(camera) for camera in names))
    await authorise(vigie, "arrete-general", ["zone-nord", "zone-sud", "zone-essais"])
    await authorise(vigie, "arrete-revocable", ["zone-revocable"])
    await asyncio.gather(
        *(
            stub.CommissionCamera(
                cameras_pb2.CommissionCameraRequest(name=f"cameras/{camera}", reason="réception")
            )
            for camera in names
        )
    )


async def places(vigie: Installation) -> None:
    stub = vigie.stub(zones_pb2_grpc.ZoneServiceStub, "registry", person="administration")
    commune = zones_pb2.Commune(display_name="Clermont-Ferrand")
    await stub.CreateCommune(zones_pb2.CreateCommuneRequest(insee_code="63113", commune=commune))
    for zone_id in ZONES:
        zone = zones_pb2.Zone(commune="communes/63113", display_name=zone_id)
        await stub.CreateZone(zones_pb2.CreateZoneRequest(zone_id=zone_id, zone=zone))


async def authorise(
    vigie: Installation, identifier: str, zones: list[str], *, retention_days: int = 30
) -> None:
    """A prefectoral order over zones, in force now."""
    stub = vigie.stub(
        authorisations_pb2_grpc.AuthorisationServiceStub, "registry", person="administration"
    )
    now_us = WALL.now_us()
    order = authorisations_pb2.Authorisation(
        number=identifier,
        prefecture="Préfecture du Puy-de-Dôme",
        purposes=[authorisations_pb2.AUTHORISATION_PURPOSE_PERSONS_AND_PROPERTY],
        zones=[f"zones/{zone}" for zone in zones],
        retention_days=retention_days,
        recipients=["csu"],
    )
    order.sign_time.FromMicroseconds(now_us - 2 * DAY_US)
    order.valid_from.FromMicroseconds(now_us - DAY_US)
    order.valid_until.FromMicroseconds(now_us + 365 * DAY_US)
    await stub.CreateAuthorisation(
        authorisations_pb2.CreateAuthorisationRequest(
            authorisation_id=identifier, authorisation=order
        )
    )
