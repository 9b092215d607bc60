"""Communes, zones, cameras, the authorisation; the life of cameras begins."""

import asyncio
from typing import Any

from vigie.cli.language import tr
from vigie.demo import estate
from vigie.demo.scene import Scene
from vigie.registry.v1 import (
    authorisations_pb2,
    authorisations_pb2_grpc,
    cameras_pb2,
    cameras_pb2_grpc,
    zones_pb2,
    zones_pb2_grpc,
)

_DAY_US = 86_400_000_000


async def make_estate(scene: Scene) -> None:
    """Enter the estate through the contracts, as an administration would."""
    with scene.account.step("The estate", "Le parc"):
        await _places(scene)
        await _authorisation(scene)
        stub = scene.stage.client(cameras_pb2_grpc.CameraServiceStub, "administration")
        await asyncio.gather(*(_enter(scene, stub, camera) for camera in estate.CAMERAS))
        scene.estate_us = scene.wall.now_us()
        listed = await stub.ListCameras(cameras_pb2.ListCamerasRequest(page_size=100))
        scene.account.check(
            tr("8 cameras registered, none shows a password", "8 caméras, aucun mot de passe"),
            len(listed.cameras) == len(estate.CAMERAS)
            and b"s3cret" not in listed.SerializeToString(),
            f"{len(listed.cameras)}",
        )


async def _places(scene: Scene) -> None:
    stub = scene.stage.client(zones_pb2_grpc.ZoneServiceStub, "administration")

    async def make_commune(code: str, name: str) -> None:
        commune = zones_pb2.Commune(display_name=name)
        await stub.CreateCommune(zones_pb2.CreateCommuneRequest(insee_code=code, commune=commune))

    async def make_zone(zone_id: str, code: str, name: str) -> None:
        zone = zones_pb2.Zone(commune=f"communes/{code}", display_name=name)
        await stub.CreateZone(zones_pb2.CreateZoneRequest(zone_id=zone_id, zone=zone))

    await asyncio.gather(*(make_commune(*commune) for commune in estate.COMMUNES))
    await asyncio.gather(*(make_zone(*zone) for zone in estate.ZONES))


async def _enter(scene: Scene, stub: Any, camera: estate.DemoCamera) -> None:
    """Enter a camera and put it into service."""
    entry = cameras_pb2.Camera(
        zone=f"zones/{camera.zone}",
        display_name=camera.display_name,
        stream_uri=scene.stage.cameras.urls[camera.id],
    )
    if camera.password:
        entry.credentials.username = "vigie"
        entry.credentials.password = camera.password
    await stub.CreateCamera(cameras_pb2.CreateCameraRequest(camera_id=camera.id, camera=entry))
    await stub.CommissionCamera(
        cameras_pb2.CommissionCameraRequest(
            name=f"cameras/{camera.id}", reason="réception des travaux"
        )
    )


async def _authorisation(scene: Scene) -> None:
    """One order for three zones; the fourth waits."""
    stub = scene.stage.client(authorisations_pb2_grpc.AuthorisationServiceStub, "administration")
    now_us = scene.wall.now_us()
    order = authorisations_pb2.Authorisation(
        number="2026-063-0412",
        prefecture="Préfecture du Puy-de-Dôme",
        purposes=[authorisations_pb2.AUTHORISATION_PURPOSE_PERSONS_AND_PROPERTY],
        zones=[f"zones/{zone}" for zone in estate.AUTHORISED_ZONES],
        retention_days=30,
        recipients=["csu", "police-municipale", "gendarmerie"],
    )
    order.sign_time.FromMicroseconds(now_us - 2 * _DAY_US)
    order.valid_from.FromMicroseconds(now_us - _DAY_US)
    order.valid_until.FromMicroseconds(now_us + 4 * 365 * _DAY_US)
    await stub.CreateAuthorisation(
        authorisations_pb2.CreateAuthorisationRequest(
            authorisation_id="order-2026-0412", authorisation=order
        )
    )
