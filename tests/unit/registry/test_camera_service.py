import uuid
from datetime import UTC, timedelta

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from unit.registry.harness import NOW, Registry, refused
from vigie.platform.database.migrations import schema_differences
from vigie.platform.faultpoint import StrikingFaults, raise_errno
from vigie.platform.sealing import SealingKey
from vigie.registry.module import MIGRATIONS
from vigie.registry.tables import METADATA
from vigie.registry.v1 import cameras_pb2 as messages
from vigie.registry.v1 import zones_pb2
from vigie.registry.v1.events_pb2 import CameraLifecycle

IN_SERVICE = CameraLifecycle.CAMERA_LIFECYCLE_IN_SERVICE
SUSPENDED = CameraLifecycle.CAMERA_LIFECYCLE_SUSPENDED
RETIRED = CameraLifecycle.CAMERA_LIFECYCLE_RETIRED


async def test_the_migrations_make_the_tables_the_code_uses(bare: Registry) -> None:
    assert await schema_differences(bare.database, MIGRATIONS, METADATA) == []


async def test_a_camera_lives_and_every_step_is_kept_and_told(registry: Registry) -> None:
    cameras, name = registry.cameras(), "cameras/cam-01"
    created = await registry.camera()
    assert created.lifecycle == CameraLifecycle.CAMERA_LIFECYCLE_PLANNED
    assert (created.commune, created.revision) == ("communes/63113", 1)
    registry.wall_clock.advance(10)
    await cameras.CommissionCamera(messages.CommissionCameraRequest(name=name))
    registry.wall_clock.advance(10)
    suspended = await cameras.SuspendCamera(
        messages.SuspendCameraRequest(name=name, reason="works on the facade")
    )
    assert (suspended.lifecycle, suspended.lifecycle_reason) == (SUSPENDED, "works on the facade")
    registry.wall_clock.advance(10)
    await cameras.ResumeCamera(messages.ResumeCameraRequest(name=name))
    registry.wall_clock.advance(10)
    retired = await cameras.RetireCamera(messages.RetireCameraRequest(name=name, reason="replaced"))
    assert retired.lifecycle == RETIRED
    history = await cameras.ListCameraRevisions(messages.ListCameraRevisionsRequest(name=name))
    assert [revision.action for revision in history.revisions] == [
        "retired",
        "resumed",
        "suspended",
        "commissioned",
        "created",
    ]
    assert {revision.actor for revision in history.revisions} == {"chief"}
    assert history.revisions[2].reason == "works on the facade"
    states = await registry.states("cam-01")
    assert [state.revision for state in states] == [1, 2, 3, 4, 5]
    assert [state.lifecycle for state in states] == [1, IN_SERVICE, SUSPENDED, IN_SERVICE, RETIRED]
    seconds = [state.effective_time.seconds for state in states]
    assert [second - seconds[0] for second in seconds] == [0, 10, 20, 30, 40]
    async with refused("CAMERA_EXISTS"):
        await registry.camera()


async def test_steps_that_lead_nowhere_are_refused_and_leave_no_trace(registry: Registry) -> None:
    await registry.camera()
    async with refused("LIFECYCLE_TRANSITION_REFUSED") as error:
        await registry.cameras().ResumeCamera(messages.ResumeCameraRequest(name="cameras/cam-01"))
    assert error[0].metadata["lifecycle"] == "PLANNED"
    assert "commission" in error[0].message
    assert len(await registry.states("cam-01")) == 1
    async with refused("REQUEST_INVALID", "reason"):
        await registry.cameras().SuspendCamera(messages.SuspendCameraRequest(name="cameras/cam-01"))


async def test_an_update_changes_what_the_mask_names(registry: Registry) -> None:
    camera = await registry.camera()
    camera.display_name = "Gate"
    camera.description = "north gate"
    changed = await registry.cameras().UpdateCamera(
        messages.UpdateCameraRequest(camera=camera, update_mask=FieldMask(paths=["description"]))
    )
    assert (changed.display_name, changed.description) == ("Camera cam-01", "north gate")
    assert changed.revision == 2
    stale = messages.UpdateCameraRequest(
        camera=camera, update_mask=FieldMask(paths=["display_name"])
    )
    async with refused("ETAG_MISMATCH", "camera.etag"):
        await registry.cameras().UpdateCamera(stale)
    stale.camera.etag = ""
    assert (await registry.cameras().UpdateCamera(stale)).display_name == "Gate"
    camera.etag = ""
    for path in ("zone", "lifecycle", "name", "nonsense"):
        async with refused("FIELD_MASK_INVALID"):
            await registry.cameras().UpdateCamera(
                messages.UpdateCameraRequest(camera=camera, update_mask=FieldMask(paths=[path]))
            )


async def test_an_update_that_changes_nothing_writes_nothing(registry: Registry) -> None:
    camera = await registry.camera(credentials=("viewer", "s3cret"))
    request = messages.UpdateCameraRequest(camera=camera, update_mask=FieldMask(paths=["*"]))
    request.camera.credentials.username = "viewer"
    request.camera.credentials.password = "s3cret"
    assert (await registry.cameras().UpdateCamera(request)).revision == 1
    assert len(await registry.states("cam-01")) == 1


@pytest.mark.parametrize(
    ("values", "reason", "field"),
    [
        ({"zone": ""}, "FIELD_REQUIRED", "camera.zone"),
        ({"zone": "zones/nowhere"}, "ZONE_NOT_FOUND", "camera.zone"),
        ({"site": "sites/nowhere"}, "SITE_NOT_FOUND", "camera.site"),
        ({"zone": "zones/zae-south", "site": "sites/mast-1"}, "SITE_IN_OTHER_ZONE", "camera.site"),
        ({"display_name": ""}, "FIELD_REQUIRED", "camera.display_name"),
        ({"stream_uri": ""}, "STREAM_URI_INVALID", "camera.stream_uri"),
        ({"stream_uri": "rtsp://"}, "STREAM_URI_INVALID", "camera.stream_uri"),
        ({"stream_uri": "file:///etc/passwd"}, "STREAM_URI_INVALID", "camera.stream_uri"),
        ({"stream_uri": "gopher://h/"}, "REQUEST_INVALID", "camera.stream_uri"),
        ({"segment_seconds": 1}, "REQUEST_INVALID", "camera.segment_seconds"),
        ({"segment_seconds": 301}, "REQUEST_INVALID", "camera.segment_seconds"),
    ],
)
async def test_bad_cameras_are_refused_at_the_field(
    registry: Registry, values: dict[str, object], reason: str, field: str
) -> None:
    good: dict[str, object] = {
        "display_name": "x",
        "zone": "zones/zae-north",
        "stream_uri": "rtsp://10.0.0.8/a",
    }
    camera = messages.Camera(**{**good, **values})  # type: ignore[arg-type]  # by name
    async with refused(reason, field):
        await registry.cameras().CreateCamera(
            messages.CreateCameraRequest(camera_id="cam-01", camera=camera)
        )
    assert await registry.states("cam-01") == []


@pytest.mark.parametrize("camera_id", ["ab", "Cam-01", "1cam", "cam_01", "c" * 64, "cam/01"])
async def test_bad_identifiers_are_refused(registry: Registry, camera_id: str) -> None:
    async with refused("REQUEST_INVALID", "camera_id"):
        await registry.camera(camera_id)


async def test_a_move_names_place_and_time(registry: Registry) -> None:
    await registry.camera(commission=True)
    registry.wall_clock.advance(3600)
    request = messages.MoveCameraRequest(
        name="cameras/cam-01", zone="zones/zae-south", reason="new junction"
    )
    request.effective_time.FromDatetime(NOW + timedelta(minutes=30))
    moved = await registry.cameras().MoveCamera(request)
    assert (moved.zone, moved.commune, moved.site) == ("zones/zae-south", "communes/63300", "")
    assert moved.effective_time.ToDatetime(UTC) == NOW + timedelta(minutes=30)
    assert (await registry.states("cam-01"))[-1].zone == "zae-south"
    async with refused("MOVE_INVALID", "zone"):
        await registry.cameras().MoveCamera(
            messages.MoveCameraRequest(name="cameras/cam-01", zone="zones/zae-south")
        )
    request.zone = "zones/zae-north"
    for wrong in (NOW + timedelta(hours=2), NOW + timedelta(minutes=29)):
        request.effective_time.FromDatetime(wrong)
        async with refused("MOVE_INVALID", "effective_time"):
            await registry.cameras().MoveCamera(request)


async def test_a_move_asks_for_both_zones(registry: Registry) -> None:
    await registry.camera()
    async with refused("PERMISSION_DENIED"):
        await registry.cameras("north").MoveCamera(
            messages.MoveCameraRequest(name="cameras/cam-01", zone="zones/zae-south")
        )


async def test_a_retired_camera_changes_no_more(registry: Registry) -> None:
    camera = await registry.camera()
    await registry.cameras().RetireCamera(
        messages.RetireCameraRequest(name=camera.name, reason="stolen")
    )
    camera.etag = ""
    async with refused("CAMERA_RETIRED"):
        await registry.cameras().UpdateCamera(messages.UpdateCameraRequest(camera=camera))
    async with refused("CAMERA_RETIRED"):
        await registry.cameras().MoveCamera(
            messages.MoveCameraRequest(name=camera.name, zone="zones/zae-south")
        )


async def test_the_history_stays_in_order_when_the_wall_clock_is_set_back(
    registry: Registry,
) -> None:
    await registry.camera()
    registry.wall_clock.advance(-600)
    await registry.cameras().CommissionCamera(
        messages.CommissionCameraRequest(name="cameras/cam-01")
    )
    first, second = await registry.states("cam-01")
    assert second.effective_time.ToMicroseconds() >= first.effective_time.ToMicroseconds()


async def test_state_and_event_commit_together_or_not_at_all(registry: Registry) -> None:
    await registry.camera()
    registry.event_log._faults = StrikingFaults("eventlog.append.inserted", raise_errno(28))
    async with refused("EVENT_LOG_UNAVAILABLE"):
        await registry.cameras().CommissionCamera(
            messages.CommissionCameraRequest(name="cameras/cam-01")
        )
    camera = await registry.cameras().GetCamera(messages.GetCameraRequest(name="cameras/cam-01"))
    assert camera.revision == 1
    history = await registry.cameras().ListCameraRevisions(
        messages.ListCameraRevisionsRequest(name="cameras/cam-01")
    )
    assert len(history.revisions) == 1
    assert len(await registry.states("cam-01")) == 1


async def test_what_exists_and_what_does_not_look_alike_to_strangers(registry: Registry) -> None:
    await registry.camera("cam-south", zone="zae-south")
    for name in ("cameras/cam-south", "cameras/cam-none"):
        async with refused("PERMISSION_DENIED") as error:
            await registry.cameras("north").GetCamera(messages.GetCameraRequest(name=name))
        assert "cameras.read" in error[0].message
        assert "south" not in error[0].message.replace(name, "")
    async with refused("CAMERA_NOT_FOUND"):
        await registry.cameras().GetCamera(messages.GetCameraRequest(name="cameras/cam-none"))
    async with refused("PERMISSION_DENIED"):
        await registry.cameras("reader").SuspendCamera(
            messages.SuspendCameraRequest(name="cameras/cam-south", reason="because")
        )
    denied = [entry for entry in registry.host.recorder.entries if not entry.allowed]
    assert ("cameras/cam-south",) in [entry.objects for entry in denied]


async def test_lists_filter_order_and_page(registry: Registry) -> None:
    for number in range(5):
        zone = "zae-north" if number % 2 else "zae-south"
        await registry.camera(f"cam-{number}", zone=zone, commission=number == 3)
        registry.wall_clock.advance(1)
    cameras = registry.cameras()

    async def listed(token: str = "chief", **query: object) -> list[str]:
        request = messages.ListCamerasRequest(**query)  # type: ignore[arg-type]  # by name
        found: list[str] = []
        while True:
            page = await registry.cameras(token).ListCameras(request)
            assert len(page.cameras) <= (request.page_size or 100)
            found += [camera.name.removeprefix("cameras/cam-") for camera in page.cameras]
            if not page.next_page_token:
                assert page.total_size == len(found)
                return found
            request.page_token = page.next_page_token

    assert await listed() == ["0", "1", "2", "3", "4"]
    assert await listed(page_size=2) == ["0", "1", "2", "3", "4"]
    assert await listed(order_by="create_time desc", page_size=2) == ["4", "3", "2", "1", "0"]
    assert await listed(order_by="zone", page_size=2) == ["1", "3", "0", "2", "4"]
    assert await listed(order_by="zone desc", page_size=1) == ["4", "2", "0", "3", "1"]
    assert await listed(filter="zone = zae-north") == ["1", "3"]
    assert await listed(filter="zone != zae-north AND lifecycle = PLANNED") == ["0", "2", "4"]
    assert await listed(filter="lifecycle = IN_SERVICE") == ["3"]
    assert await listed(filter="commune = 63300") == ["0", "2", "4"]
    assert await listed(filter='"CAMERA cam-2"') == ["2"]
    assert await listed(filter="cam-1 north") == []
    assert await listed("north") == ["1", "3"]
    assert await listed("north", filter="zone = zae-south") == []
    assert await listed("reader", page_size=1) == ["1", "3"]
    await registry.authorisation(zones=("zae-north",))
    assert await listed(filter="authorisation_state = AUTHORISED", page_size=1) == ["1", "3"]
    assert await listed(filter="authorisation_state != AUTHORISED") == ["0", "2", "4"]
    page = await cameras.ListCameras(messages.ListCamerasRequest(page_size=1))
    for changed in ({"filter": "cam"}, {"order_by": "zone"}):
        async with refused("PAGE_TOKEN_INVALID", "page_token"):
            await cameras.ListCameras(
                messages.ListCamerasRequest(page_token=page.next_page_token, **changed)
            )
    async with refused("FILTER_INVALID", "filter"):
        await cameras.ListCameras(messages.ListCamerasRequest(filter="zone ="))
    async with refused("ORDER_INVALID", "order_by"):
        await cameras.ListCameras(messages.ListCamerasRequest(order_by="colour"))
    async with refused("PERMISSION_DENIED"):
        await registry.cameras("nobody").ListCameras(messages.ListCamerasRequest())


@pytest.mark.parametrize("letter", ["é", "\U0001f4f7", "\x01"])
async def test_pages_go_on_behind_the_longest_names(registry: Registry, letter: str) -> None:
    ends = ["0", "1", "2"]
    for end in ends:
        camera = messages.Camera(
            display_name=letter * 119 + end, zone="zones/zae-north", stream_uri="rtsp://h/"
        )
        await registry.cameras().CreateCamera(
            messages.CreateCameraRequest(camera_id=f"cam-{end:0>59}", camera=camera)
        )
    request = messages.ListCamerasRequest(order_by="display_name", page_size=1)
    for end in ends:
        page = await registry.cameras().ListCameras(request)
        assert [each.display_name[-1] for each in page.cameras] == [end]
        request.page_token = page.next_page_token


async def test_text_search_takes_signs_of_patterns_literally(registry: Registry) -> None:
    await registry.camera()
    for text in ("%", "_am", "\\"):
        page = await registry.cameras().ListCameras(
            messages.ListCamerasRequest(filter='"' + text.replace("\\", "\\\\") + '"')
        )
        assert not page.cameras


async def test_a_repeated_request_is_done_once(registry: Registry) -> None:
    await registry.camera(commission=True)
    request = messages.SuspendCameraRequest(
        name="cameras/cam-01", reason="works", request_id=str(uuid.uuid4())
    )
    first = await registry.cameras().SuspendCamera(request)
    registry.wall_clock.advance(60)
    assert await registry.cameras().SuspendCamera(request) == first
    assert len(await registry.states("cam-01")) == 3


async def test_a_repeated_change_is_answered_though_the_camera_stands_elsewhere_now(
    registry: Registry,
) -> None:
    await registry.camera(commission=True)
    north = registry.cameras("north")
    suspend = messages.SuspendCameraRequest(
        name="cameras/cam-01", reason="works", request_id=str(uuid.uuid4())
    )
    rename = messages.UpdateCameraRequest(
        camera=messages.Camera(name="cameras/cam-01", display_name="East"),
        request_id=str(uuid.uuid4()),
    )
    first = [await north.SuspendCamera(suspend), await north.UpdateCamera(rename)]
    move = messages.MoveCameraRequest(name="cameras/cam-01", zone="zones/zae-south")
    await registry.cameras().MoveCamera(move)
    assert [await north.SuspendCamera(suspend), await north.UpdateCamera(rename)] == first
    suspend.request_id = str(uuid.uuid4())
    async with refused("PERMISSION_DENIED"):
        await north.SuspendCamera(suspend)


async def test_a_request_is_the_same_in_capitals_and_after_a_change_of_keys(
    registry: Registry,
) -> None:
    await registry.camera(commission=True)
    request = messages.SuspendCameraRequest(
        name="cameras/cam-01", reason="works", request_id=str(uuid.UUID(int=0xABCDEF, version=4))
    )
    first = await registry.cameras().SuspendCamera(request)
    request.request_id = request.request_id.upper()
    assert await registry.cameras().SuspendCamera(request) == first
    former = registry.sealer._current
    current = SealingKey.of(b"\x09" * 32)
    registry.sealer.__init__([current, former])  # type: ignore[misc]  # as after a restart
    assert await registry.cameras().SuspendCamera(request) == first
    request.reason = "other works"
    async with refused("REQUEST_ID_REUSED", "request_id"):
        await registry.cameras().SuspendCamera(request)


async def test_history_pages_backwards_and_hides_other_zones(registry: Registry) -> None:
    await registry.camera("cam-01", zone="zae-south")
    await registry.cameras().MoveCamera(
        messages.MoveCameraRequest(name="cameras/cam-01", zone="zones/zae-north")
    )
    await registry.cameras().CommissionCamera(
        messages.CommissionCameraRequest(name="cameras/cam-01")
    )
    request = messages.ListCameraRevisionsRequest(name="cameras/cam-01", page_size=2)
    page = await registry.cameras().ListCameraRevisions(request)
    assert [item.action for item in page.revisions] == ["commissioned", "moved"]
    request.page_token = page.next_page_token
    page = await registry.cameras().ListCameraRevisions(request)
    assert [item.action for item in page.revisions] == ["created"]
    assert page.next_page_token == ""
    mine = await registry.cameras("reader").ListCameraRevisions(
        messages.ListCameraRevisionsRequest(name="cameras/cam-01")
    )
    assert [item.action for item in mine.revisions] == ["commissioned", "moved"]


async def test_a_site_in_use_stays(registry: Registry) -> None:
    camera = messages.Camera(
        display_name="x",
        zone="zones/zae-north",
        site="sites/mast-1",
        stream_uri="rtsp://10.0.0.8/a",
    )
    await registry.cameras().CreateCamera(
        messages.CreateCameraRequest(camera_id="cam-01", camera=camera)
    )
    async with refused("SITE_NOT_EMPTY"):
        await registry.zones().DeleteSite(zones_pb2.DeleteSiteRequest(name="sites/mast-1"))


async def test_a_zone_that_ever_had_a_camera_stays(registry: Registry) -> None:
    await registry.camera("cam-01", zone="zae-south")
    await registry.cameras().MoveCamera(
        messages.MoveCameraRequest(name="cameras/cam-01", zone="zones/zae-north")
    )
    async with refused("ZONE_NOT_EMPTY") as error:
        await registry.zones().DeleteZone(zones_pb2.DeleteZoneRequest(name="zones/zae-south"))
    assert "footage" in error[0].message
