"""A camera records only while it may; when that changes, it stops at once and says why."""

import pytest

from e2e import estate
from e2e.callers import GAP, SPAN, Entry, timeline
from e2e.harness import WALL, Cameras, Installation, until
from vigie.registry.v1 import (
    authorisations_pb2,
    authorisations_pb2_grpc,
    cameras_pb2,
    cameras_pb2_grpc,
)

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
AT_ONCE_US = 3_000_000


async def recorded_since(vigie: Installation, camera: str, instant_us: int) -> int:
    async def found() -> int | None:
        entries = await timeline(vigie, camera, instant_us)
        return next((entry.end_us for entry in entries if entry.kind == SPAN), None)

    return await until(found, f"{camera} records")


async def stopped(
    vigie: Installation, cameras: Cameras, camera: str, told_us: int, cause: str
) -> Entry:
    """The gap that a decision leaves; the camera is not even connected to any more."""

    async def disconnected() -> bool:
        return (await cameras.plain.control.cameras())[camera]["sessions"] == 0

    async def gap() -> Entry | None:
        last = (await timeline(vigie, camera, told_us - 1_000_000))[-1]
        return last if last.kind == GAP and last.cause == cause else None

    await until(disconnected, f"{camera} is left alone", seconds=10)
    assert WALL.now_us() < told_us + 10_000_000
    found = await until(gap, f"{camera}: {cause}")
    assert found.start_us <= told_us + AT_ONCE_US
    return found


async def test_suspend_and_resume(vigie: Installation, cameras: Cameras, begun_us: int) -> None:
    camera = "cam-suspended"
    await recorded_since(vigie, camera, begun_us)
    stub = vigie.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person="administration")
    await stub.SuspendCamera(
        cameras_pb2.SuspendCameraRequest(name=f"cameras/{camera}", reason="travaux")
    )
    gap = await stopped(vigie, cameras, camera, WALL.now_us(), "SUSPENDED")
    await stub.ResumeCamera(cameras_pb2.ResumeCameraRequest(name=f"cameras/{camera}"))
    resumed_us = WALL.now_us()
    await recorded_since(vigie, camera, resumed_us)
    entries = await timeline(vigie, camera, gap.start_us - 1_000_000)
    assert next(entry.cause for entry in entries if entry.kind == GAP) == "SUSPENDED"
    first = next(entry for entry in entries if entry.start_us > gap.start_us and entry.kind == SPAN)
    assert first.start_us <= resumed_us + AT_ONCE_US


async def test_retire(vigie: Installation, cameras: Cameras, begun_us: int) -> None:
    camera = "cam-retired"
    end_us = await recorded_since(vigie, camera, begun_us)
    stub = vigie.stub(cameras_pb2_grpc.CameraServiceStub, "registry", person="administration")
    await stub.RetireCamera(
        cameras_pb2.RetireCameraRequest(name=f"cameras/{camera}", reason="dépose")
    )
    await stopped(vigie, cameras, camera, WALL.now_us(), "NOT_IN_SERVICE")
    entries = await timeline(vigie, camera, begun_us, end_us)
    assert entries[-1].kind == SPAN, "what a retired camera recorded stays"


async def test_revoke_and_authorise_anew(
    vigie: Installation, cameras: Cameras, begun_us: int
) -> None:
    camera = "cam-revoked"
    await recorded_since(vigie, camera, begun_us)
    stub = vigie.stub(
        authorisations_pb2_grpc.AuthorisationServiceStub, "registry", person="administration"
    )
    await stub.RevokeAuthorisation(
        authorisations_pb2.RevokeAuthorisationRequest(
            name="authorisations/arrete-revocable", reason="annulation par le tribunal"
        )
    )
    await stopped(vigie, cameras, camera, WALL.now_us(), "NOT_AUTHORISED")
    await estate.authorise(vigie, "arrete-nouveau", ["zone-revocable"])
    again_us = WALL.now_us()
    await recorded_since(vigie, camera, again_us)


async def test_without_an_authorisation_no_camera_is_ever_connected_to(
    vigie: Installation, cameras: Cameras, begun_us: int
) -> None:
    entries = await timeline(vigie, estate.UNAUTHORISED, begun_us)
    assert [(entry.kind, entry.cause) for entry in entries] == [(GAP, "NOT_AUTHORISED")]
    state = (await cameras.plain.control.cameras())[estate.UNAUTHORISED]
    assert (state["sessions"], state["frames_sent"]) == (0, 0)


async def test_sound_is_never_asked_for(cameras: Cameras, begun_us: int) -> None:
    states = await cameras.plain.control.cameras()
    assert {state["audio_setups"] for state in states.values()} == {0}
