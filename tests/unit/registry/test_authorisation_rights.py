"""What callers bound to zones may do with, and learn from, authorisations and cameras."""

from collections.abc import Awaitable, Callable, Iterator

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from unit.registry.harness import NOW, Registry, refused
from vigie.platform.grpc.session import HostCall
from vigie.registry.v1 import authorisations_pb2 as messages
from vigie.registry.v1 import cameras_pb2
from vigie.registry.v1.authorisations_pb2 import AuthorisationState

Meanwhile = Callable[[Callable[[], Awaitable[object]]], None]


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Iterator[Meanwhile]:
    """Lets something happen once, between the next admission of `north` and what follows it."""
    waiting: list[Callable[[], Awaitable[object]]] = []
    admit = HostCall.admit

    async def admit_then(self: HostCall, **what: object) -> None:
        await admit(self, **what)  # type: ignore[arg-type]  # as it was called
        if self.caller.subject == "north" and waiting:
            await waiting.pop()()

    monkeypatch.setattr(HostCall, "admit", admit_then)
    yield waiting.append
    assert not waiting


def order(
    number: str, *, cameras: tuple[str, ...] = (), zones: tuple[str, ...] = ()
) -> messages.Authorisation:
    message = messages.Authorisation(
        number=number,
        prefecture="Puy-de-Dôme",
        purposes=[messages.AUTHORISATION_PURPOSE_PERSONS_AND_PROPERTY],
        cameras=[f"cameras/{camera}" for camera in cameras],
        zones=[f"zones/{zone}" for zone in zones],
    )
    message.valid_from.FromDatetime(NOW)
    message.valid_until.FromDatetime(NOW.replace(year=2029))
    return message


async def move(registry: Registry, zone: str) -> None:
    await registry.cameras().MoveCamera(
        cameras_pb2.MoveCameraRequest(name="cameras/cam-01", zone=f"zones/{zone}")
    )


async def stored(registry: Registry, name: str) -> messages.Authorisation:
    return await registry.authorisations().GetAuthorisation(
        messages.GetAuthorisationRequest(name=f"authorisations/{name}")
    )


async def test_a_camera_that_moves_meanwhile_is_not_authorised_where_the_caller_has_no_right(
    registry: Registry, meanwhile: Meanwhile
) -> None:
    await registry.camera()
    meanwhile(lambda: move(registry, "zae-south"))
    request = messages.CreateAuthorisationRequest(
        authorisation_id="a-9", authorisation=order("9", cameras=("cam-01",))
    )
    async with refused("ETAG_MISMATCH"):
        await registry.authorisations("north").CreateAuthorisation(request)
    async with refused("AUTHORISATION_NOT_FOUND"):
        await stored(registry, "a-9")


async def test_an_authorisation_that_is_widened_meanwhile_is_neither_revoked_nor_changed(
    registry: Registry, meanwhile: Meanwhile
) -> None:
    await registry.authorisation(zones=("zae-north",))
    wider = messages.Authorisation(
        name="authorisations/a-1", zones=["zones/zae-north", "zones/zae-south"]
    )

    async def widen() -> None:
        await registry.authorisations().UpdateAuthorisation(
            messages.UpdateAuthorisationRequest(authorisation=wider)
        )

    north = registry.authorisations("north")
    meanwhile(widen)
    async with refused("ETAG_MISMATCH"):
        await north.RevokeAuthorisation(
            messages.RevokeAuthorisationRequest(name=wider.name, reason="annulled")
        )
    kept = await stored(registry, "a-1")
    assert kept.state == AuthorisationState.AUTHORISATION_STATE_IN_FORCE
    del wider.zones[1]
    await widen()
    wider.zones.append("zones/zae-south")
    meanwhile(widen)
    async with refused("ETAG_MISMATCH"):
        await north.UpdateAuthorisation(
            messages.UpdateAuthorisationRequest(
                authorisation=messages.Authorisation(name=wider.name, retention_days=3)
            )
        )
    assert (await stored(registry, "a-1")).retention_days == 0


async def test_a_camera_that_moves_away_meanwhile_is_not_read(
    registry: Registry, meanwhile: Meanwhile
) -> None:
    await registry.camera()
    meanwhile(lambda: move(registry, "zae-south"))
    request = cameras_pb2.GetCameraRequest(name="cameras/cam-01")
    async with refused("PERMISSION_DENIED"):
        await registry.cameras("north").GetCamera(request)
    assert (await registry.cameras().GetCamera(request)).zone == "zones/zae-south"


async def test_a_camera_of_another_zone_looks_like_one_that_does_not_exist(
    registry: Registry,
) -> None:
    await registry.camera("cam-south", zone="zae-south")
    await registry.authorisation(zones=("zae-north",))
    north = registry.authorisations("north")
    told = set()
    for camera in ("cam-south", "cam-none"):
        asked = order("9", cameras=(camera,), zones=("zae-north",))
        async with refused("PERMISSION_DENIED") as errors:
            await north.CreateAuthorisation(
                messages.CreateAuthorisationRequest(authorisation=asked)
            )
        told.add(str(errors[0]))
        changed = messages.Authorisation(name="authorisations/a-1", cameras=[f"cameras/{camera}"])
        async with refused("PERMISSION_DENIED") as errors:
            await north.UpdateAuthorisation(
                messages.UpdateAuthorisationRequest(authorisation=changed)
            )
        told.add(str(errors[0]))
    assert len(told) == 1


async def test_cameras_of_other_zones_are_counted_and_not_named(registry: Registry) -> None:
    await registry.camera("cam-01")
    await registry.camera("cam-02")
    await registry.camera("cam-south", zone="zae-south")
    await registry.authorisation(zones=("zae-north", "zae-south"), cameras=("cam-01", "cam-south"))
    whole = await stored(registry, "a-1")
    assert whole.hidden_camera_count == 0
    assert len(whole.covered_cameras) == 3
    north = registry.authorisations("north")
    seen = await north.GetAuthorisation(messages.GetAuthorisationRequest(name=whole.name))
    assert seen.cameras == ["cameras/cam-01"]
    assert seen.covered_cameras == ["cameras/cam-01", "cameras/cam-02"]
    assert seen.hidden_camera_count == 1
    listed = await north.ListAuthorisations(messages.ListAuthorisationsRequest())
    assert list(listed.authorisations) == [seen]
    for camera, found in (("cam-01", 1), ("cam-south", 0), ("cam-none", 0)):
        request = messages.ListAuthorisationsRequest(camera=f"cameras/{camera}")
        assert len((await north.ListAuthorisations(request)).authorisations) == found


async def test_who_may_know_where_a_camera_was_named_sees_that_it_has_lapsed(
    registry: Registry,
) -> None:
    await registry.camera()
    await registry.authorisation(cameras=("cam-01",))
    await move(registry, "zae-south")
    seen = await registry.authorisations("north").GetAuthorisation(
        messages.GetAuthorisationRequest(name="authorisations/a-1")
    )
    assert seen.lapsed_cameras == seen.cameras == ["cameras/cam-01"]
    assert seen.hidden_camera_count == 0
    # Where it is now, and that something covers it there, is for those of that zone.
    wider = messages.Authorisation(
        name="authorisations/a-1", zones=["zones/zae-north", "zones/zae-south"]
    )
    whole = await registry.authorisations().UpdateAuthorisation(
        messages.UpdateAuthorisationRequest(authorisation=wider)
    )
    assert whole.covered_cameras == ["cameras/cam-01"]
    seen = await registry.authorisations("north").GetAuthorisation(
        messages.GetAuthorisationRequest(name="authorisations/a-1")
    )
    assert (list(seen.covered_cameras), seen.hidden_camera_count) == ([], 1)


async def test_only_what_is_in_force_covers_a_camera_now(registry: Registry) -> None:
    await registry.camera()
    await registry.authorisation("a-now", zones=("zae-north",))
    await registry.authorisation("a-revoked", zones=("zae-north",))
    await registry.authorisation("a-later", zones=("zae-north",), valid_from=NOW.replace(year=2028))
    await registry.authorisations().RevokeAuthorisation(
        messages.RevokeAuthorisationRequest(name="authorisations/a-revoked", reason="annulled")
    )
    found = await registry.authorisations().ListAuthorisations(
        messages.ListAuthorisationsRequest(camera="cameras/cam-01")
    )
    assert [item.name for item in found.authorisations] == ["authorisations/a-now"]


@pytest.mark.parametrize("seconds", [253370764800, 10**15, -(10**15), -3_000_000_000])
@pytest.mark.parametrize("field", ["valid_from", "valid_until", "sign_time"])
async def test_dates_out_of_range_are_refused_by_name(
    registry: Registry, field: str, seconds: int
) -> None:
    asked = order("9", zones=("zae-north",))
    getattr(asked, field).CopyFrom(Timestamp(seconds=seconds))
    async with refused("AUTHORISATION_DATES_INVALID", f"authorisation.{field}"):
        await registry.authorisations().CreateAuthorisation(
            messages.CreateAuthorisationRequest(authorisation=asked)
        )


async def test_a_mistyped_end_neither_ends_an_order_nor_takes_its_number(
    registry: Registry,
) -> None:
    await registry.camera()
    wrong = order("9", zones=("zae-north",))
    wrong.valid_from.FromDatetime(NOW.replace(year=2020))
    wrong.valid_until.FromDatetime(NOW.replace(year=2025))
    service = registry.authorisations()
    async with refused("AUTHORISATION_DATES_INVALID", "authorisation.valid_until"):
        await service.CreateAuthorisation(messages.CreateAuthorisationRequest(authorisation=wrong))
    right = messages.CreateAuthorisationRequest(
        authorisation_id="a-9", authorisation=order("9", zones=("zae-north",))
    )
    created = await service.CreateAuthorisation(right)
    registry.wall_clock.advance(3600)
    typed = messages.Authorisation(name=created.name)
    typed.valid_until.FromMicroseconds(registry.wall_clock.now_us())
    async with refused("AUTHORISATION_DATES_INVALID", "authorisation.valid_until"):
        await service.UpdateAuthorisation(messages.UpdateAuthorisationRequest(authorisation=typed))
    kept = await stored(registry, "a-9")
    assert kept.state == AuthorisationState.AUTHORISATION_STATE_IN_FORCE
