from collections.abc import AsyncIterator

from unit.registry.harness import Registry, refused
from vigie.registry.v1 import cameras_pb2 as messages


async def until_checkpoint(
    stream: AsyncIterator[messages.WatchCamerasResponse],
) -> tuple[list[str], str]:
    """What came up to the next checkpoint (``-cam`` for one that has left), and its token."""
    seen: list[str] = []
    async for message in stream:
        if message.is_checkpoint:
            assert message.WhichOneof("change") is None
            return seen, message.resume_token
        left = "-" + message.departed_camera
        name = message.camera.name if message.HasField("camera") else left
        seen.append(name.replace("cameras/", ""))
    raise AssertionError("the stream ended")


def watch(
    registry: Registry, token: str = "chief", resume: str = ""
) -> AsyncIterator[messages.WatchCamerasResponse]:
    return registry.cameras(token).WatchCameras(messages.WatchCamerasRequest(resume_token=resume))


async def test_an_empty_registry_has_a_checkpoint_at_once(bare: Registry) -> None:
    seen, token = await until_checkpoint(watch(bare))
    assert seen == []
    await bare.ground()
    await bare.camera()
    assert (await until_checkpoint(watch(bare, resume=token)))[0] == ["cam-01"]


async def test_everything_then_every_change(registry: Registry) -> None:
    await registry.camera("cam-01")
    await registry.camera("cam-02", zone="zae-south")
    stream = watch(registry)
    seen, _ = await until_checkpoint(stream)
    assert seen == ["cam-01", "cam-02"]
    await registry.cameras().CommissionCamera(
        messages.CommissionCameraRequest(name="cameras/cam-02")
    )
    seen, token = await until_checkpoint(stream)
    assert seen == ["cam-02"]
    assert (await until_checkpoint(watch(registry, resume=token)))[0] == []
    await registry.camera("cam-03")
    assert (await until_checkpoint(watch(registry, resume=token)))[0] == ["cam-03"]


async def test_only_the_callers_zones_and_a_word_when_a_camera_leaves(registry: Registry) -> None:
    await registry.camera("cam-01")
    await registry.camera("cam-02", zone="zae-south")
    stream = watch(registry, "reader")
    seen, _ = await until_checkpoint(stream)
    assert seen == ["cam-01"]
    await registry.cameras().MoveCamera(
        messages.MoveCameraRequest(name="cameras/cam-01", zone="zones/zae-south")
    )
    seen, _ = await until_checkpoint(stream)
    assert seen == ["-cam-01"]


async def test_made_up_tokens_are_refused(registry: Registry) -> None:
    async with refused("RESUME_TOKEN_INVALID", "resume_token"):
        await until_checkpoint(watch(registry, resume="nonsense"))
