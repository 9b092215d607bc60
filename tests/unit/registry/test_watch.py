from collections.abc import AsyncIterator

from unit.registry.harness import Registry, refused
from vigie.platform.paging import Tokens
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


async def test_other_zones_than_before_begin_anew(registry: Registry) -> None:
    """A camera of a zone that was granted meanwhile may not change for years."""
    await registry.camera("cam-01")
    await registry.camera("cam-02", zone="zae-south")
    seen, token = await until_checkpoint(watch(registry, "reader"))
    assert seen == ["cam-01"]
    assert (await until_checkpoint(watch(registry, "reader", resume=token)))[0] == []
    seen, wider = await until_checkpoint(watch(registry, "chief", resume=token))
    assert seen == ["cam-01", "cam-02"]
    assert (await until_checkpoint(watch(registry, "chief", resume=wider)))[0] == []
    assert (await until_checkpoint(watch(registry, "reader", resume=wider)))[0] == ["cam-01"]


async def test_every_message_can_be_resumed_and_nothing_is_missing(registry: Registry) -> None:
    names = [f"cam-{number:02}" for number in range(1, 8)]
    for name in names:
        await registry.camera(name)
    stream = aiter(watch(registry))
    for told in range(1, len(names) + 1):
        token = (await anext(stream)).resume_token
        again, _ = await until_checkpoint(watch(registry, resume=token))
        assert again == names[len(names) - len(again) :]
        assert len(again) >= len(names) - told


async def test_tokens_of_the_version_before_begin_anew(registry: Registry) -> None:
    await registry.camera("cam-01")
    tokens = Tokens(registry.sealer.derived_key("page tokens"))
    former = tokens.seal({"positions": [[0, 99]]}, b"WatchCameras")
    assert (await until_checkpoint(watch(registry, resume=former)))[0] == ["cam-01"]
