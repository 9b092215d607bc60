"""Moves that are entered after they happened: nothing that was decided before is told anew."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import update

from recording_support import opened_index
from unit.registry.harness import Registry
from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.clock import ManualWallClock, to_us
from vigie.recording.index import writer
from vigie.recording.index.outages import put_outage
from vigie.recording.model import Cause
from vigie.recording.timeline.algebra import Kind
from vigie.recording.timeline.intervals import Interval
from vigie.recording.timeline.reading import TimelineReader
from vigie.registry.authority import covered_since_us
from vigie.registry.model import Term
from vigie.registry.tables import authorisation_cameras
from vigie.registry.v1 import authorisations_pb2, cameras_pb2


def at(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, 11, hour, minute, tzinfo=UTC)


def clock(registry: Registry, hour: int, minute: int = 0) -> None:
    registry.wall_clock.set(to_us(at(hour, minute)))


async def move(registry: Registry, zone: str, since: datetime) -> cameras_pb2.Camera:
    request = cameras_pb2.MoveCameraRequest(name="cameras/cam-01", zone=f"zones/{zone}")
    request.effective_time.FromDatetime(since)
    return await registry.cameras().MoveCamera(request)


async def spans(registry: Registry) -> dict[str, tuple[datetime, datetime]]:
    """Of the newest state: authorisation -> its term."""
    state = (await registry.states("cam-01"))[-1]
    return {
        term.authorisation.removeprefix("authorisations/"): (
            term.valid_from.ToDatetime(UTC),
            term.valid_until.ToDatetime(UTC),
        )
        for term in state.authorisations
    }


async def timeline(
    registry: Registry, start: datetime, end: datetime, *outages: ingest_pb2.Outage
) -> list[tuple[str, Cause | None]]:
    """What recording tells of a window with no footage, by the events of the registry."""
    window = Interval(to_us(start), to_us(end))
    with tempfile.TemporaryDirectory() as folder:
        async with opened_index(Path(folder)) as index:
            async with index.transaction() as connection:
                for state, told_us in await registry.told("cam-01"):
                    await writer.put_camera_state(connection, state, told_us)
                for outage in outages:
                    await put_outage(connection, "cam-01", outage)
            reader = TimelineReader(index, ManualWallClock(window.end_us), lambda _camera: None)
            entries = [entry async for entry in reader.entries("cam-01", window)]
    assert all(entry.kind is Kind.GAP for entry in entries)
    return [
        (datetime.fromtimestamp(entry.start_us / 1e6, UTC).strftime("%H:%M"), entry.cause)
        for entry in entries
    ]


def unreachable(start: datetime, end: datetime) -> ingest_pb2.Outage:
    return ingest_pb2.Outage(
        outage=f"{start:%H%M}",
        start_us=to_us(start),
        end_us=to_us(end),
        known_until_us=to_us(end),
        cause=int(Cause.CAMERA_UNREACHABLE),
    )


async def test_a_move_entered_late_blames_nobody_for_what_the_register_forbade(
    registry: Registry,
) -> None:
    await registry.authorisation("a-south", zones=("zae-south",))
    clock(registry, 5)
    await registry.camera("cam-01", commission=True)
    clock(registry, 18)
    before = await timeline(registry, at(5), at(18))
    assert before == [("05:00", Cause.NOT_AUTHORISED)]
    moved = await move(registry, "zae-south", at(6, 30))
    assert moved.effective_time.ToDatetime(UTC) == at(6, 30)
    assert moved.authorisations == ["authorisations/a-south"]
    assert await spans(registry) == {"a-south": (at(18), datetime(2029, 1, 1, tzinfo=UTC))}
    assert await timeline(registry, at(5), at(18)) == before
    assert await timeline(registry, at(5), at(20)) == [*before, ("18:00", Cause.INGEST_DOWN)]


async def test_a_camera_that_was_covered_all_the_time_is_covered_there_since_it_moved(
    registry: Registry,
) -> None:
    await registry.authorisation("a-north", zones=("zae-north",))
    await registry.authorisation("a-south", zones=("zae-south",))
    clock(registry, 5)
    await registry.camera("cam-01", commission=True)
    outage = unreachable(at(9), at(10))
    clock(registry, 18)
    before = await timeline(registry, at(5), at(18), outage)
    await move(registry, "zae-south", at(6, 30))
    assert await spans(registry) == {
        "a-north": (at(5), at(6, 30)),
        "a-south": (at(6, 30), datetime(2029, 1, 1, tzinfo=UTC)),
    }
    assert await timeline(registry, at(5), at(18), outage) == before


async def test_a_move_out_of_cover_entered_late_excuses_no_outage(registry: Registry) -> None:
    """Until it was entered the camera was to be recorded: what is missing of that is missing."""
    await registry.authorisation("a-north", zones=("zae-north",))
    clock(registry, 5)
    await registry.camera("cam-01", commission=True)
    outage = unreachable(at(9), at(10))
    clock(registry, 18)
    before = await timeline(registry, at(5), at(18), outage)
    assert before == [
        ("05:00", Cause.INGEST_DOWN),
        ("09:00", Cause.CAMERA_UNREACHABLE),
        ("10:00", Cause.INGEST_DOWN),
    ]
    moved = await move(registry, "zae-south", at(6, 30))
    assert moved.authorisations == []
    assert await timeline(registry, at(5), at(18), outage) == before
    # Of a part of the time too, and what began before the entry ends with it.
    assert await timeline(registry, at(9, 30), at(18), outage) == [
        ("09:30", Cause.CAMERA_UNREACHABLE),
        ("10:00", Cause.INGEST_DOWN),
    ]
    assert await timeline(registry, at(17), at(20), unreachable(at(17), at(19))) == [
        ("17:00", Cause.CAMERA_UNREACHABLE),
        ("18:00", Cause.NOT_AUTHORISED),
    ]


async def test_no_order_covers_from_before_it_was_entered(registry: Registry) -> None:
    await registry.authorisation("a-north", zones=("zae-north",))
    clock(registry, 5)
    await registry.camera("cam-01", commission=True)
    clock(registry, 12)
    await registry.authorisation("a-south", zones=("zae-south",))
    clock(registry, 18)
    await move(registry, "zae-south", at(6, 30))
    assert (await spans(registry))["a-south"][0] == at(12)


async def test_a_break_in_what_covered_it_is_not_covered_afterwards(registry: Registry) -> None:
    await registry.authorisation("a-south", zones=("zae-south",))
    await registry.authorisation("a-till-9", zones=("zae-north",), valid_until=at(9))
    await registry.authorisation("a-from-15", zones=("zae-north",), valid_from=at(15))
    clock(registry, 5)
    await registry.camera("cam-01", commission=True)
    clock(registry, 18)
    await move(registry, "zae-south", at(6, 30))
    # From 9 to 15 nothing covered it, so it was not received; since 15 it was, without a break.
    assert (await spans(registry))["a-south"][0] == at(15)


async def test_a_move_that_is_corrected_keeps_what_was_recorded_meanwhile(
    registry: Registry,
) -> None:
    await registry.authorisation("a-south", zones=("zae-south",))
    clock(registry, 5)
    await registry.camera("cam-01", commission=True)
    clock(registry, 18)
    await move(registry, "zae-south", at(6, 30))
    await registry.authorisation("a-north", zones=("zae-north",))
    clock(registry, 19)
    await move(registry, "zae-north", at(7))
    assert (await spans(registry))["a-north"][0] == at(18)


async def test_a_named_camera_that_came_back_has_to_be_named_again(registry: Registry) -> None:
    await registry.camera()
    await registry.camera("cam-02")
    created = await registry.authorisation(cameras=("cam-01", "cam-02"))
    clock(registry, 6)
    await move(registry, "zae-south", at(6))
    clock(registry, 7)
    back = await move(registry, "zae-north", at(7))
    assert back.authorisations == []
    service = registry.authorisations()
    kept = await service.GetAuthorisation(
        authorisations_pb2.GetAuthorisationRequest(name=created.name)
    )
    assert kept.lapsed_cameras == ["cameras/cam-01"]
    assert kept.covered_cameras == ["cameras/cam-02"]
    # To leave it on the list is not to name it again; nor is a change of something else.
    request = authorisations_pb2.UpdateAuthorisationRequest(
        authorisation=authorisations_pb2.Authorisation(
            name=created.name,
            cameras=["cameras/cam-01", "cameras/cam-02"],
            recipients=["police-municipale"],
        )
    )
    kept = await service.UpdateAuthorisation(request)
    assert kept.lapsed_cameras == ["cameras/cam-01"]
    del request.authorisation.cameras[0]
    await service.UpdateAuthorisation(request)
    clock(registry, 8)
    request.authorisation.cameras.append("cameras/cam-01")
    named = await service.UpdateAuthorisation(request)
    assert named.lapsed_cameras == []
    assert (await spans(registry))["a-1"][0] == at(8)


async def test_a_naming_that_a_program_of_the_version_before_let_lapse_stays_lapsed(
    registry: Registry,
) -> None:
    """It moved the camera during a rolling update and knew no mark; the camera comes back."""
    await registry.camera()
    created = await registry.authorisation(cameras=("cam-01",))
    clock(registry, 8)
    await move(registry, "zae-south", at(8))
    async with registry.module._needs.database.transaction() as connection:
        await connection.execute(update(authorisation_cameras).values(lapsed_us=None))
    await registry.module._warden.look()
    clock(registry, 9)
    back = await move(registry, "zae-north", at(9))
    assert back.authorisations == []
    kept = await registry.authorisations().GetAuthorisation(
        authorisations_pb2.GetAuthorisationRequest(name=created.name)
    )
    assert kept.lapsed_cameras == ["cameras/cam-01"]


def test_covered_since_the_start_of_the_last_unbroken_stretch() -> None:
    def term(from_us: int, until_us: int) -> Term:
        return Term(f"a-{from_us}", "1", from_us, until_us, 0)

    assert covered_since_us([], 10, 100) == 100
    assert covered_since_us([term(0, 200)], 10, 100) == 10
    assert covered_since_us([term(20, 50), term(50, 200)], 10, 100) == 20
    assert covered_since_us([term(20, 49), term(50, 200)], 10, 100) == 50
    assert covered_since_us([term(0, 99)], 10, 100) == 100
    assert covered_since_us([term(0, 60), term(40, 90), term(70, 100)], 10, 100) == 10
    assert covered_since_us([term(100, 200)], 10, 100) == 100
