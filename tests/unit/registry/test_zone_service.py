import uuid

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from unit.registry.harness import Registry, refused
from vigie.platform.grpc.testing import caller_with
from vigie.registry.v1 import zones_pb2 as messages


def commune(name: str) -> messages.Commune:
    return messages.Commune(display_name=name)


async def test_a_commune_is_entered_read_changed_and_removed(bare: Registry) -> None:
    zones = bare.zones()
    created = await zones.CreateCommune(
        messages.CreateCommuneRequest(insee_code="2A004", commune=commune("Ajaccio"))
    )
    assert (created.name, created.insee_code) == ("communes/2A004", "2A004")
    read = await zones.GetCommune(messages.GetCommuneRequest(name="communes/2A004"))
    assert read == created
    bare.wall_clock.advance(60)
    created.display_name = "Aiacciu"
    changed = await zones.UpdateCommune(messages.UpdateCommuneRequest(commune=created))
    assert changed.display_name == "Aiacciu"
    assert changed.etag != created.etag
    assert changed.update_time.seconds == created.create_time.seconds + 60
    async with refused("ETAG_MISMATCH"):
        await zones.UpdateCommune(messages.UpdateCommuneRequest(commune=created))
    await zones.DeleteCommune(
        messages.DeleteCommuneRequest(name="communes/2A004", etag=changed.etag)
    )
    async with refused("COMMUNE_NOT_FOUND"):
        await zones.GetCommune(messages.GetCommuneRequest(name="communes/2A004"))


@pytest.mark.parametrize("insee", ["6311", "631133", "2C004", "abcde", "63 13"])
async def test_only_insee_codes(bare: Registry, insee: str) -> None:
    async with refused("REQUEST_INVALID", "insee_code"):
        await bare.zones().CreateCommune(
            messages.CreateCommuneRequest(insee_code=insee, commune=commune("x"))
        )


async def test_what_exists_is_not_entered_twice(registry: Registry) -> None:
    zones = registry.zones()
    async with refused("COMMUNE_EXISTS"):
        await zones.CreateCommune(
            messages.CreateCommuneRequest(insee_code="63113", commune=commune("x"))
        )
    async with refused("ZONE_EXISTS"):
        await zones.CreateZone(
            messages.CreateZoneRequest(
                zone_id="zae-north", zone=messages.Zone(display_name="x", commune="communes/63113")
            )
        )
    async with refused("SITE_EXISTS"):
        await zones.CreateSite(
            messages.CreateSiteRequest(
                site_id="mast-1", site=messages.Site(display_name="x", zone="zones/zae-south")
            )
        )


async def test_parents_must_exist_and_names_be_given(registry: Registry) -> None:
    zones = registry.zones()
    async with refused("COMMUNE_NOT_FOUND", "zone.commune"):
        await zones.CreateZone(
            messages.CreateZoneRequest(
                zone_id="zae-x", zone=messages.Zone(display_name="x", commune="communes/99999")
            )
        )
    async with refused("ZONE_NOT_FOUND", "site.zone"):
        await zones.CreateSite(
            messages.CreateSiteRequest(
                site_id="mast-x", site=messages.Site(display_name="x", zone="zones/nowhere")
            )
        )
    async with refused("FIELD_REQUIRED", "zone.display_name"):
        await zones.CreateZone(
            messages.CreateZoneRequest(
                zone_id="zae-x", zone=messages.Zone(display_name=" ", commune="communes/63113")
            )
        )


async def test_only_what_is_empty_can_be_removed(registry: Registry) -> None:
    zones = registry.zones()
    async with refused("COMMUNE_NOT_EMPTY"):
        await zones.DeleteCommune(messages.DeleteCommuneRequest(name="communes/63113"))
    async with refused("ZONE_NOT_EMPTY"):
        await zones.DeleteZone(messages.DeleteZoneRequest(name="zones/zae-north"))
    await zones.DeleteSite(messages.DeleteSiteRequest(name="sites/mast-1"))
    await registry.authorisation(zones=("zae-north",))
    async with refused("ZONE_NOT_EMPTY"):
        await zones.DeleteZone(messages.DeleteZoneRequest(name="zones/zae-north"))
    await zones.DeleteZone(messages.DeleteZoneRequest(name="zones/zae-south"))
    await zones.DeleteCommune(messages.DeleteCommuneRequest(name="communes/63300"))


async def test_lists_go_page_by_page_and_keep_to_the_callers_zones(registry: Registry) -> None:
    for number in range(5):
        await registry.zones().CreateZone(
            messages.CreateZoneRequest(
                zone_id=f"zae-{number}",
                zone=messages.Zone(display_name="x", commune="communes/63300"),
            )
        )
    seen: list[str] = []
    token = ""
    while True:
        page = await registry.zones().ListZones(
            messages.ListZonesRequest(page_size=3, page_token=token)
        )
        seen += [zone.name for zone in page.zones]
        token = page.next_page_token
        if not token:
            break
    assert seen == sorted(seen)
    assert len(seen) == 7
    mine = await registry.zones("north").ListZones(messages.ListZonesRequest())
    assert [zone.name for zone in mine.zones] == ["zones/zae-north"]
    southern = await registry.zones().ListZones(messages.ListZonesRequest(commune="communes/63300"))
    assert len(southern.zones) == 6
    sites = await registry.zones("north").ListSites(messages.ListSitesRequest())
    assert [site.name for site in sites.sites] == ["sites/mast-1"]
    communes = await registry.zones("north").ListCommunes(messages.ListCommunesRequest())
    assert len(communes.communes) == 2
    async with refused("PAGE_TOKEN_INVALID", "page_token"):
        await registry.zones().ListZones(messages.ListZonesRequest(page_token="nonsense"))


async def test_masks_change_only_what_they_name(registry: Registry) -> None:
    site = messages.Site(name="sites/mast-1", display_name="Mast one", address="1 rue du Port")
    site.position.latitude_degrees = 45.78
    site.position.longitude_degrees = 3.08
    changed = await registry.zones().UpdateSite(
        messages.UpdateSiteRequest(site=site, update_mask=FieldMask(paths=["address", "position"]))
    )
    assert changed.display_name == "Mast 1"
    assert changed.address == "1 rue du Port"
    assert changed.position.latitude_degrees == 45.78
    async with refused("FIELD_MASK_INVALID"):
        await registry.zones().UpdateSite(
            messages.UpdateSiteRequest(site=site, update_mask=FieldMask(paths=["zone"]))
        )


async def test_the_wrong_zone_is_refused_whether_it_exists_or_not(registry: Registry) -> None:
    north = registry.zones("north")
    for name in ("zones/zae-south", "zones/nowhere"):
        async with refused("PERMISSION_DENIED") as error:
            await north.GetZone(messages.GetZoneRequest(name=name))
        assert "registry.read" in str(error[0])
    for name in ("sites/mast-2", "sites/nowhere"):
        async with refused("PERMISSION_DENIED"):
            await north.GetSite(messages.GetSiteRequest(name=name))
    async with refused("PERMISSION_DENIED"):
        await north.CreateCommune(
            messages.CreateCommuneRequest(insee_code="63001", commune=commune("x"))
        )
    async with refused("PERMISSION_DENIED"):
        await north.CreateSite(
            messages.CreateSiteRequest(
                site_id="mast-9", site=messages.Site(display_name="x", zone="zones/zae-south")
            )
        )
    async with refused("ZONE_NOT_FOUND"):
        await registry.zones().GetZone(messages.GetZoneRequest(name="zones/nowhere"))
    refusals = [entry for entry in registry.host.recorder.entries if not entry.allowed]
    assert len(refusals) >= 2  # changes are on record, readings of the ground are not


async def test_a_repeated_request_is_done_once(registry: Registry) -> None:
    request = messages.CreateZoneRequest(
        zone_id="zae-new",
        zone=messages.Zone(display_name="New", commune="communes/63113"),
        request_id=str(uuid.UUID(int=1, version=4)),
    )
    first = await registry.zones().CreateZone(request)
    again = await registry.zones().CreateZone(request)
    assert again == first
    request.zone.display_name = "Other"
    async with refused("REQUEST_ID_REUSED", "request_id"):
        await registry.zones().CreateZone(request)
    registry.wall_clock.advance(25 * 3600)
    async with refused("ZONE_EXISTS"):  # forgotten after a day: judged anew
        await registry.zones().CreateZone(request)


async def test_a_repeated_removal_is_answered_to_whoever_removed(registry: Registry) -> None:
    """The site is gone, and with it the zone by which he was admitted."""
    request = messages.DeleteSiteRequest(
        name="sites/mast-1", request_id=str(uuid.UUID(int=2, version=4))
    )
    await registry.zones("north").DeleteSite(request)
    await registry.zones("north").DeleteSite(request)
    entries = [e for e in registry.host.recorder.entries if e.method.endswith("DeleteSite")]
    assert [(e.allowed, e.objects, e.zones) for e in entries] == [
        (True, ("sites/mast-1",), ("zae-north",))
    ] * 2
    async with refused("PERMISSION_DENIED"):  # not his request
        await registry.zones("reader").DeleteSite(request)
    request.etag = "other"
    async with refused("PERMISSION_DENIED"):  # not that request
        await registry.zones("north").DeleteSite(request)
    request.etag = ""
    registry.wall_clock.advance(25 * 3600)
    async with refused("PERMISSION_DENIED"):  # forgotten
        await registry.zones("north").DeleteSite(request)
    async with refused("SITE_NOT_FOUND"):
        await registry.zones("chief").DeleteSite(request)


async def test_a_repetition_is_not_answered_to_who_lost_the_zone(registry: Registry) -> None:
    request = messages.DeleteSiteRequest(
        name="sites/mast-1", request_id=str(uuid.UUID(int=3, version=4))
    )
    await registry.zones("north").DeleteSite(request)
    registry.host.authenticator.set_caller(
        "north", caller_with("north", "registry.write", zones=["zae-south"])
    )
    async with refused("PERMISSION_DENIED"):
        await registry.zones("north").DeleteSite(request)
