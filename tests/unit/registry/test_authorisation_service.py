from datetime import UTC, datetime, timedelta

import structlog
from google.protobuf.field_mask_pb2 import FieldMask

from unit.registry.harness import NOW, Registry, refused
from vigie.platform.clock import to_us
from vigie.platform.metrics import MetricsRegistry
from vigie.registry.v1 import authorisations_pb2 as messages
from vigie.registry.v1 import cameras_pb2
from vigie.registry.v1.authorisations_pb2 import AuthorisationState
from vigie.registry.v1.cameras_pb2 import CameraAuthorisationState
from vigie.registry.v1.events_pb2 import CameraState
from vigie.registry.warden import Warden

PURPOSE = messages.AUTHORISATION_PURPOSE_PERSONS_AND_PROPERTY


async def authorised(registry: Registry, camera: str = "cam-01") -> str:
    found = await registry.cameras().GetCamera(
        cameras_pb2.GetCameraRequest(name=f"cameras/{camera}")
    )
    name = CameraAuthorisationState.Name(found.authorisation_state)
    return name.removeprefix("CAMERA_AUTHORISATION_STATE_")


def spans(state: CameraState) -> list[tuple[datetime, datetime]]:
    return [
        (term.valid_from.ToDatetime(UTC), term.valid_until.ToDatetime(UTC))
        for term in state.authorisations
    ]


async def test_an_authorisation_tells_every_camera_in_its_perimeter(registry: Registry) -> None:
    await registry.camera("cam-01")
    await registry.camera("cam-02", zone="zae-south")
    assert await authorised(registry) == "NOT_AUTHORISED"
    registry.wall_clock.advance(60)
    created = await registry.authorisation(zones=("zae-north",), retention_days=15)
    assert created.state == AuthorisationState.AUTHORISATION_STATE_IN_FORCE
    assert created.covered_cameras == ["cameras/cam-01"]
    assert created.renewal_due_time.ToDatetime(UTC) == datetime(2028, 9, 1, tzinfo=UTC)
    states = await registry.states("cam-01")
    assert len(states) == 2
    assert len(await registry.states("cam-02")) == 1
    (term,) = states[-1].authorisations
    assert (term.authorisation, term.number) == ("authorisations/a-1", "2026/a-1")
    assert term.retention_days == 15
    # It covers from when it was entered: what came before was not authorised to this product.
    assert spans(states[-1]) == [(NOW + timedelta(seconds=60), datetime(2029, 1, 1, tzinfo=UTC))]
    assert await authorised(registry) == "AUTHORISED"
    assert await authorised(registry, "cam-02") == "NOT_AUTHORISED"


async def test_a_camera_entered_later_is_covered_at_once(registry: Registry) -> None:
    await registry.authorisation(zones=("zae-north",))
    registry.wall_clock.advance(3600)
    camera = await registry.camera()
    assert camera.authorisations == ["authorisations/a-1"]
    assert len((await registry.states("cam-01"))[0].authorisations) == 1


async def test_a_camera_that_moves_away_is_no_longer_covered(registry: Registry) -> None:
    await registry.camera()
    await registry.authorisation("a-zone", zones=("zae-north",))
    await registry.authorisation("a-list", cameras=("cam-01",))
    registry.wall_clock.advance(3600)
    move = cameras_pb2.MoveCameraRequest(name="cameras/cam-01", zone="zones/zae-south")
    moved = await registry.cameras().MoveCamera(move)
    assert moved.authorisations == []
    state = (await registry.states("cam-01"))[-1]
    # The footage of before stays explained: both terms end with the move.
    assert [until for _, until in spans(state)] == [NOW + timedelta(hours=1)] * 2
    listed = await registry.authorisations().GetAuthorisation(
        messages.GetAuthorisationRequest(name="authorisations/a-list")
    )
    assert listed.lapsed_cameras == ["cameras/cam-01"]
    assert listed.covered_cameras == []
    registry.wall_clock.advance(3600)
    back = await registry.cameras().MoveCamera(
        cameras_pb2.MoveCameraRequest(name="cameras/cam-01", zone="zones/zae-north")
    )
    # The perimeter covers what stands in it; a naming that has lapsed stays so.
    assert list(back.authorisations) == ["authorisations/a-zone"]
    assert len((await registry.states("cam-01"))[-1].authorisations) == 3


async def test_naming_a_moved_camera_again_covers_it_where_it_is(registry: Registry) -> None:
    await registry.camera()
    await registry.camera("cam-02")
    created = await registry.authorisation(cameras=("cam-01",))
    await registry.cameras().MoveCamera(
        cameras_pb2.MoveCameraRequest(name="cameras/cam-01", zone="zones/zae-south")
    )
    request = messages.UpdateAuthorisationRequest(
        authorisation=messages.Authorisation(
            name=created.name, cameras=["cameras/cam-01", "cameras/cam-02"]
        )
    )
    kept = await registry.authorisations().UpdateAuthorisation(request)
    # To add another camera does not quietly cover the one that has moved.
    assert kept.lapsed_cameras == ["cameras/cam-01"]
    del request.authorisation.cameras[0]
    await registry.authorisations().UpdateAuthorisation(request)
    request.authorisation.cameras.append("cameras/cam-01")
    again = await registry.authorisations().UpdateAuthorisation(request)
    assert again.covered_cameras == ["cameras/cam-01", "cameras/cam-02"]
    assert again.lapsed_cameras == []


async def test_revocation_ends_it_now_and_for_good(registry: Registry) -> None:
    await registry.camera()
    created = await registry.authorisation(zones=("zae-north",))
    registry.wall_clock.advance(3600)
    revoke = messages.RevokeAuthorisationRequest(name=created.name, reason="annulled by the court")
    revoked = await registry.authorisations().RevokeAuthorisation(revoke)
    assert revoked.state == AuthorisationState.AUTHORISATION_STATE_REVOKED
    assert revoked.revoke_reason == "annulled by the court"
    assert await authorised(registry) == "NOT_AUTHORISED"
    assert spans((await registry.states("cam-01"))[-1]) == [(NOW, NOW + timedelta(hours=1))]
    async with refused("AUTHORISATION_EXPIRED"):
        await registry.authorisations().RevokeAuthorisation(revoke)
    async with refused("AUTHORISATION_EXPIRED"):
        await registry.authorisations().UpdateAuthorisation(
            messages.UpdateAuthorisationRequest(
                authorisation=messages.Authorisation(name=created.name, number="x")
            )
        )


async def test_an_expired_one_is_never_extended_but_another_one_may_follow(
    registry: Registry,
) -> None:
    await registry.camera()
    created = await registry.authorisation(
        zones=("zae-north",), valid_until=NOW + timedelta(days=30)
    )
    assert created.state == AuthorisationState.AUTHORISATION_STATE_EXPIRING
    assert await authorised(registry) == "EXPIRING"
    registry.wall_clock.advance(30 * 86400)
    assert await authorised(registry) == "NOT_AUTHORISED"
    extension = messages.Authorisation(name=created.name)
    extension.valid_until.FromDatetime(NOW + timedelta(days=300))
    async with refused("AUTHORISATION_EXPIRED"):
        await registry.authorisations().UpdateAuthorisation(
            messages.UpdateAuthorisationRequest(authorisation=extension)
        )
    await registry.authorisation(
        "a-2",
        zones=("zae-north",),
        valid_from=NOW + timedelta(days=30),
        valid_until=NOW + timedelta(days=900),
    )
    assert await authorised(registry) == "AUTHORISED"


async def test_five_years_also_when_amended(registry: Registry) -> None:
    async with refused("AUTHORISATION_TOO_LONG", "authorisation.valid_until"):
        await registry.authorisation(
            zones=("zae-north",), valid_until=datetime(2031, 1, 2, tzinfo=UTC)
        )
    # From 1 March to 1 March, as the order says it: across a leap day in UTC only.
    await registry.authorisation(
        "a-march",
        zones=("zae-north",),
        valid_from=datetime(2027, 2, 28, 23, tzinfo=UTC),
        valid_until=datetime(2032, 2, 29, 23, tzinfo=UTC),
    )
    created = await registry.authorisation(zones=("zae-north",))
    longer = messages.Authorisation(name=created.name)
    longer.valid_until.FromDatetime(datetime(2031, 1, 2, tzinfo=UTC))
    async with refused("AUTHORISATION_TOO_LONG"):
        await registry.authorisations().UpdateAuthorisation(
            messages.UpdateAuthorisationRequest(authorisation=longer)
        )
    longer.valid_from.FromDatetime(NOW)  # moving the start with it would be a renewal
    async with refused("AUTHORISATION_DATES_INVALID", "authorisation.valid_from"):
        await registry.authorisations().UpdateAuthorisation(
            messages.UpdateAuthorisationRequest(authorisation=longer)
        )


async def test_what_is_missing_or_unknown_is_named(registry: Registry) -> None:
    async with refused("AUTHORISATION_SCOPE_INVALID"):
        await registry.authorisation()
    async with refused("CAMERA_NOT_FOUND", "authorisation.cameras[0]"):
        await registry.authorisation(cameras=("cam-none",))
    async with refused("ZONE_NOT_FOUND", "authorisation.zones[1]"):
        await registry.authorisation(zones=("zae-north", "nowhere"))
    await registry.authorisation(zones=("zae-north",))
    async with refused("AUTHORISATION_EXISTS"):
        await registry.authorisation(zones=("zae-north",))
    same_number = messages.Authorisation(
        number="2026/a-1", prefecture="Puy-de-Dôme", purposes=[PURPOSE], zones=["zones/zae-north"]
    )
    for name in ("valid_from", "valid_until"):
        async with refused("FIELD_REQUIRED", f"authorisation.{name}"):
            await registry.authorisations().CreateAuthorisation(
                messages.CreateAuthorisationRequest(authorisation=same_number)
            )
        getattr(same_number, name).FromDatetime(NOW + timedelta(days=len(name)))
    async with refused("AUTHORISATION_EXISTS", "authorisation.number"):
        await registry.authorisations().CreateAuthorisation(
            messages.CreateAuthorisationRequest(authorisation_id="other", authorisation=same_number)
        )
    same_number.number = "N° 2026/é 7"
    made = await registry.authorisations().CreateAuthorisation(
        messages.CreateAuthorisationRequest(authorisation=same_number)
    )
    assert made.name == "authorisations/n-2026-e-7"
    same_number.purposes.append(0)  # type: ignore[arg-type]  # the number of an enum
    async with refused("REQUEST_INVALID"):
        await registry.authorisations().CreateAuthorisation(
            messages.CreateAuthorisationRequest(authorisation=same_number)
        )


async def test_zones_of_others_are_out_of_reach(registry: Registry) -> None:
    await registry.camera("cam-south", zone="zae-south")
    await registry.authorisation("a-south", zones=("zae-south",))
    await registry.authorisation("a-north", zones=("zae-north",))
    await registry.authorisation("a-both", zones=("zae-north", "zae-south"))
    north = registry.authorisations("north")
    listed = await north.ListAuthorisations(messages.ListAuthorisationsRequest())
    assert [item.name for item in listed.authorisations] == [
        "authorisations/a-both",
        "authorisations/a-north",
    ]
    for name in ("authorisations/a-south", "authorisations/none"):
        async with refused("PERMISSION_DENIED"):
            await north.GetAuthorisation(messages.GetAuthorisationRequest(name=name))
    await north.GetAuthorisation(messages.GetAuthorisationRequest(name="authorisations/a-both"))
    async with refused("PERMISSION_DENIED"):
        await north.RevokeAuthorisation(
            messages.RevokeAuthorisationRequest(name="authorisations/a-both", reason="because")
        )
    grab = messages.Authorisation(name="authorisations/a-north", cameras=["cameras/cam-south"])
    async with refused("PERMISSION_DENIED"):
        await north.UpdateAuthorisation(messages.UpdateAuthorisationRequest(authorisation=grab))


async def test_lists_filter_and_page(registry: Registry) -> None:
    await registry.camera()
    for number in range(5):
        zone = "zae-north" if number % 2 else "zae-south"
        until = NOW + timedelta(days=10 if number == 3 else 1000)
        await registry.authorisation(f"a-{number}", zones=(zone,), valid_until=until)
    service = registry.authorisations()
    request = messages.ListAuthorisationsRequest(page_size=2)
    seen: list[str] = []
    while True:
        page = await service.ListAuthorisations(request)
        seen += [item.name for item in page.authorisations]
        request.page_token = page.next_page_token
        if not request.page_token:
            break
    assert seen == [f"authorisations/a-{number}" for number in range(5)]
    covering = await service.ListAuthorisations(
        messages.ListAuthorisationsRequest(camera="cameras/cam-01")
    )
    assert [item.name[-1] for item in covering.authorisations] == ["1", "3"]
    expiring = await service.ListAuthorisations(
        messages.ListAuthorisationsRequest(states=[AuthorisationState.AUTHORISATION_STATE_EXPIRING])
    )
    assert [item.name[-1] for item in expiring.authorisations] == ["3"]


async def test_an_update_without_change_tells_nobody(registry: Registry) -> None:
    await registry.camera()
    created = await registry.authorisation(zones=("zae-north",))
    same = await registry.authorisations().UpdateAuthorisation(
        messages.UpdateAuthorisationRequest(
            authorisation=created, update_mask=FieldMask(paths=["*"])
        )
    )
    assert same == created
    assert len(await registry.states("cam-01")) == 2


async def test_the_end_is_told_four_months_ahead(registry: Registry) -> None:
    await registry.camera(commission=True)
    created = await registry.authorisation(zones=("zae-north",))
    await registry.module._warden.look()
    assert registry.metrics.value("vigie_registry_authorisations", state="IN_FORCE") == 1
    assert registry.metrics.value("vigie_registry_cameras", lifecycle="IN_SERVICE") == 1
    assert registry.metrics.value("vigie_registry_cameras_not_authorised") == 0
    registry.wall_clock.set(created.renewal_due_time.ToMicroseconds())
    await registry.module._warden.look()
    assert registry.metrics.value("vigie_registry_authorisations", state="EXPIRING") == 1
    left = registry.metrics.value("vigie_registry_authorisation_next_end_seconds")
    assert left == 122 * 86400  # 1 September 2028 to 1 January 2029
    registry.wall_clock.advance(left)
    await registry.module._warden.look()
    assert registry.metrics.value("vigie_registry_authorisations", state="EXPIRED") == 1
    assert registry.metrics.value("vigie_registry_cameras_not_authorised") == 1
    assert registry.metrics.value("vigie_registry_authorisation_next_end_seconds") == -1


async def test_the_log_is_told_once_whoever_looks(registry: Registry) -> None:
    created = await registry.authorisation(zones=("zae-north",))
    needs = registry.module._needs
    wardens = [
        Warden(
            needs.database,
            needs.wall_clock,
            needs.monotonic_clock,
            MetricsRegistry(),
            interval_seconds=60,
        )
        for _ in range(2)
    ]

    async def told() -> list[str]:
        with structlog.testing.capture_logs() as lines:
            for warden in wardens:
                warden._log = structlog.get_logger()
                await warden.look()
                await warden.look()
        return [line["event"] for line in lines]

    assert await told() == []
    registry.wall_clock.set(created.renewal_due_time.ToMicroseconds())
    assert await told() == ["authorisation_expiring"]
    assert await told() == []
    longer = messages.Authorisation(name=created.name)
    longer.valid_until.FromDatetime(datetime(2031, 1, 1, tzinfo=UTC))
    await registry.authorisations().UpdateAuthorisation(
        messages.UpdateAuthorisationRequest(authorisation=longer)
    )
    assert await told() == []
    registry.wall_clock.set(to_us(datetime(2030, 10, 1, tzinfo=UTC)))
    assert await told() == ["authorisation_expiring"]
    registry.wall_clock.set(to_us(datetime(2031, 1, 1, tzinfo=UTC)))
    assert await told() == ["authorisation_expired"]
    assert await told() == []
