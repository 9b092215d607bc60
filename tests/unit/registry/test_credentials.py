"""I11: credentials of cameras stand in no log, event, answer, error or database in the clear."""

import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from sqlalchemy import update as update_rows

from unit.registry.harness import Registry, refused
from vigie.platform.config.secret import Secret
from vigie.platform.sealing import Sealed, StreamLogin
from vigie.registry.tables import camera_revisions, cameras
from vigie.registry.v1 import cameras_pb2 as messages
from vigie.registry.v1.events_pb2 import CameraState

PASSWORD = "correct-horse-9"
LOGIN = StreamLogin("viewer", Secret(PASSWORD))


def opened(registry: Registry, state: CameraState) -> StreamLogin | None:
    if not state.HasField("credentials"):
        return None
    sealed = Sealed(state.credentials.key_id, state.credentials.ciphertext)
    return registry.sealer.open_login(sealed, camera=state.camera)


async def update(registry: Registry, *paths: str, **values: object) -> messages.Camera:
    camera = messages.Camera(name="cameras/cam-01", **values)  # type: ignore[arg-type]  # by name
    return await registry.cameras().UpdateCamera(
        messages.UpdateCameraRequest(camera=camera, update_mask=FieldMask(paths=paths))
    )


async def test_ingest_can_open_what_was_given(registry: Registry) -> None:
    camera = await registry.camera(credentials=("viewer", PASSWORD))
    assert camera.has_credentials
    assert not camera.HasField("credentials")
    (state,) = await registry.states("cam-01")
    assert opened(registry, state) == LOGIN


async def test_credentials_in_the_address_are_taken_out(registry: Registry) -> None:
    camera = await registry.camera(uri=f"rtsp://viewer:{PASSWORD}@10.0.0.8:554/stream1")
    assert camera.stream_uri == "rtsp://10.0.0.8:554/stream1"
    assert camera.has_credentials
    (state,) = await registry.states("cam-01")
    assert state.stream_uri == "rtsp://10.0.0.8:554/stream1"
    assert opened(registry, state) == LOGIN


async def test_given_twice_is_refused(registry: Registry) -> None:
    async with refused("CREDENTIALS_INVALID", "camera.credentials"):
        await registry.camera(uri="rtsp://a:b@10.0.0.8/", credentials=("viewer", PASSWORD))


async def test_credentials_stay_are_replaced_and_are_removed(registry: Registry) -> None:
    await registry.camera(credentials=("viewer", PASSWORD))
    assert (await update(registry, "description", description="x")).has_credentials
    assert (await update(registry, description="y")).has_credentials
    new = messages.StreamCredentials(username="viewer", password="other-pass")
    await update(registry, "credentials", credentials=new)
    login = opened(registry, (await registry.states("cam-01"))[-1])
    assert login == StreamLogin("viewer", Secret("other-pass"))
    assert not (await update(registry, "credentials")).has_credentials
    assert opened(registry, (await registry.states("cam-01"))[-1]) is None


async def test_a_password_never_follows_the_address_to_another_host(registry: Registry) -> None:
    await registry.camera(credentials=("viewer", PASSWORD))
    await update(registry, "stream_uri", stream_uri="rtsp://10.0.0.8:554/stream2")
    for thief in ("rtsp://10.6.6.6:554/a", "rtsp://10.0.0.8:555/a", "http://10.0.0.8:554/a"):
        async with refused("CREDENTIALS_REQUIRED", "camera.credentials"):
            await update(registry, "stream_uri", stream_uri=thief)
    assert not (
        await update(registry, "stream_uri", "credentials", stream_uri="rtsp://10.6.6.6/a")
    ).has_credentials


async def test_credentials_show_nowhere(
    registry: Registry, capfd: pytest.CaptureFixture[str]
) -> None:
    camera = await registry.camera(credentials=("viewer", PASSWORD))
    answers = [camera]
    bad = [
        (f"rtsp://viewer:{PASSWORD}@10.0.0.8:port/", None),
        (f"rtsp://viewer:{PASSWORD}@/", None),
        (f"rtsp://10.0.0.8/{PASSWORD} x", None),
        (f"http://10.0.0.8/?pwd={PASSWORD}", None),
        (f"rtsp://10.0.0.8/user=a&password={PASSWORD}&channel=1", None),
        ("rtsp://10.0.0.8/", ("viewer", PASSWORD + "\n")),
        ("rtsp://10.0.0.8/", ("a:b", PASSWORD)),
        ("gopher://10.0.0.8/", ("viewer", PASSWORD)),
        ("rtsp://10.0.0.8/", ("viewer", PASSWORD * 30)),
    ]
    shown = ""
    for uri, credentials in bad:
        seen: list[Exception] = []
        try:
            await registry.camera("cam-bad", uri=uri, credentials=credentials)
        except Exception as error:  # noqa: BLE001 - whatever comes, it must not show the password
            seen.append(error)
            trailing = getattr(error, "trailing_metadata", tuple)()
            shown += f"{error!r} {error} {list(trailing)}"
        assert seen, uri
    answers.append(
        await registry.cameras().GetCamera(messages.GetCameraRequest(name="cameras/cam-01"))
    )
    listed = await registry.cameras().ListCameras(messages.ListCamerasRequest())
    history = await registry.cameras().ListCameraRevisions(
        messages.ListCameraRevisionsRequest(name="cameras/cam-01")
    )
    table = b""
    async for chunk in registry.cameras().ExportCameras(messages.ExportCamerasRequest()):
        table += chunk.csv
    async for message in registry.cameras().WatchCameras(messages.WatchCamerasRequest()):
        shown += str(message)
        if message.is_checkpoint:
            break
    async for stored in registry.event_log.read("cameras"):
        assert PASSWORD.encode() not in (stored.event.value or b"")
    shown += f"{answers} {listed} {history} {table!r} {registry.host.recorder.entries}"
    out, err = capfd.readouterr()
    shown += out + err
    assert "cam-01" in shown
    assert PASSWORD not in shown
    for file in registry.folder.iterdir():
        assert PASSWORD.encode() not in file.read_bytes(), file


async def test_a_damaged_box_is_mended_by_giving_the_credentials_again(registry: Registry) -> None:
    await registry.camera(credentials=("viewer", PASSWORD))
    async with registry.database.transaction() as connection:
        await connection.execute(update_rows(cameras).values(credentials=bytes(60)))
    new = messages.StreamCredentials(username="viewer", password=PASSWORD)
    await update(registry, "credentials", credentials=new)
    assert opened(registry, (await registry.states("cam-01"))[-1]) == LOGIN


async def test_a_secret_in_an_address_of_before_is_shown_nowhere_and_works_on(
    registry: Registry,
) -> None:
    """Taken by a version that did not know the form; ingest still needs it."""
    uri = f"rtsp://10.0.0.8/user=a&password={PASSWORD}&channel=1"
    await registry.camera()
    async with registry.database.transaction() as connection:
        await connection.execute(update_rows(cameras).values(stream_uri=uri))
        old = messages.Camera(name="cameras/cam-01", stream_uri=uri).SerializeToString()
        await connection.execute(update_rows(camera_revisions).values(snapshot=old))
    seen = [await update(registry, "description", description="at the gate")]
    service = registry.cameras()
    assert seen[0].stream_uri == "rtsp://10.0.0.8/user=a&password=***&channel=1"
    history = await service.ListCameraRevisions(
        messages.ListCameraRevisionsRequest(name="cameras/cam-01")
    )
    table = b""
    async for chunk in service.ExportCameras(messages.ExportCamerasRequest()):
        table += chunk.csv
    assert PASSWORD not in f"{seen} {history} {table!r}"
    assert (await registry.states("cam-01"))[-1].stream_uri == uri
    async with refused("STREAM_URI_INVALID", "camera.stream_uri"):
        await update(registry, "stream_uri", stream_uri=seen[0].stream_uri)
    again = messages.ImportCamerasRequest(
        csv=table, mode=messages.ImportMode.IMPORT_MODE_CREATE_OR_UPDATE
    )
    assert (await service.ImportCameras(again)).unchanged_count == 1
    assert (await registry.states("cam-01"))[-1].stream_uri == uri
