"""Pages end where their bytes do: what people write has up to four bytes a character."""

from typing import Any

from sqlalchemy import insert

from unit.registry.harness import Registry
from vigie.platform.database.connection import AsyncConnection
from vigie.registry.tables import camera_revisions, coverages, zones
from vigie.registry.v1 import authorisations_pb2 as orders
from vigie.registry.v1 import cameras_pb2 as messages
from vigie.registry.v1 import zones_pb2 as ground

LARGEST_BYTES = 1 << 20
LONG = "\U0001f4f7" * 1000
COUNT = 300


async def pages(method: Any, request: Any, entries: str) -> list[Any]:
    """The entries of all pages, of which each has to fit a message."""
    found: list[Any] = []
    request.page_size = 1000
    while True:
        page = await method(request)
        assert page.ByteSize() < LARGEST_BYTES
        found += getattr(page, entries)
        if not page.next_page_token:
            return found
        assert len(getattr(page, entries)) < COUNT
        request.page_token = page.next_page_token


async def put(registry: Registry, table: Any, rows: list[dict[str, Any]]) -> None:
    async def work(connection: AsyncConnection) -> None:
        await connection.execute(insert(table), rows)

    await registry.database.write(work)


async def test_cameras(registry: Registry) -> None:
    header = "camera,display_name,zone,stream_uri,description\n"
    lines = [f"cam-{n:03},x,zae-north,rtsp://10.0.0.1:{1000 + n}/,{LONG}\n" for n in range(COUNT)]
    for start in range(0, COUNT, 150):
        table = (header + "".join(lines[start : start + 150])).encode()
        await registry.cameras().ImportCameras(messages.ImportCamerasRequest(csv=table))
    request = messages.ListCamerasRequest(order_by="name desc")
    found = await pages(registry.cameras().ListCameras, request, "cameras")
    assert [camera.name for camera in found] == [
        f"cameras/cam-{n:03}" for n in reversed(range(COUNT))
    ]


async def test_revisions(registry: Registry) -> None:
    await registry.camera("cam-01")
    snapshot = messages.Camera(name="cameras/cam-01", description=LONG).SerializeToString()
    row = {"camera": "cam-01", "effective_us": 1, "recorded_us": 1, "snapshot": snapshot}
    row |= {"action": "updated", "reason": "", "actor": "chief"}
    rows = [
        row | {"revision": n, "zone": "zae-north" if n % 3 else "zae-south"}
        for n in range(2, COUNT * 2)
    ]
    await put(registry, camera_revisions, rows)
    northern = 1 + sum(row["zone"] == "zae-north" for row in rows)
    for token, count in (("chief", COUNT * 2 - 1), ("north", northern)):
        request = messages.ListCameraRevisionsRequest(name="cameras/cam-01")
        found = await pages(registry.cameras(token).ListCameraRevisions, request, "revisions")
        assert len(found) == count


async def test_zones(registry: Registry) -> None:
    row = {"commune": "63113", "display_name": "x", "description": LONG}
    row |= {"version": 1, "created_us": 1, "updated_us": 1}
    await put(registry, zones, [row | {"zone": f"z-{n:03}"} for n in range(COUNT)])
    found = await pages(registry.zones().ListZones, ground.ListZonesRequest(), "zones")
    assert len(found) == COUNT + 2
    assert [zone.name for zone in found] == sorted(zone.name for zone in found)


async def test_authorisations(registry: Registry) -> None:
    """Each names every camera that it covers."""
    names = [f"a-{n}" for n in range(12)]
    rows: list[dict[str, Any]] = []
    for name in names:
        await registry.authorisation(name, zones=("zae-north",))
        row = {"authorisation": name, "from_us": 1, "until_us": None}
        rows += [row | {"camera": f"cam-{n:059}"} for n in range(1500)]
    await put(registry, coverages, rows)
    request = orders.ListAuthorisationsRequest()
    found = await pages(registry.authorisations().ListAuthorisations, request, "authorisations")
    assert sorted(order.name for order in found) == sorted(f"authorisations/{n}" for n in names)
