"""Which authorisation covers which camera, and since when.

A coverage row is opened when a camera comes into the scope of an authorisation and closed when it
leaves it; it is never deleted, because footage of its time must stay explained. What the camera
may do follows from the rows and the dates of the authorisations: its *terms*.

What is entered late changes nothing that was decided before. Coverage closes when the camera left;
it opens when that was written down, or earlier where the camera was covered anyway: until then
ingest was told not to connect, and a timeline must not blame it for that.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, bindparam, delete, exists, select, update

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.database.statements import in_chunks, upsert
from vigie.registry import authority
from vigie.registry.lifecycle import RETIRED
from vigie.registry.model import CameraRecord, Term
from vigie.registry.tables import (
    authorisation_cameras,
    authorisation_zones,
    authorisations,
    cameras,
    coverages,
)

REMEMBERED_US: Final = 62 * 86_400_000_000
"""How long a term stays in a camera's state after its end: twice the longest retention."""

Pair = tuple[str, str]


async def refresh(
    connection: AsyncConnection, records: Sequence[CameraRecord], at_us: int, recorded_us: int
) -> None:
    """Open and close coverage of ``records``.

    Args:
        connection: a transaction.
        records: cameras as they now stand.
        at_us: from when on they stand so.
        recorded_us: when that is written down; later than ``at_us`` for a move entered late.
    """
    await _lapse(connection, records, at_us)
    wanted = await _wanted(connection, [item for item in records if item.lifecycle != RETIRED])
    opened = await _open(connection, [record.camera for record in records])
    leaving = [(*pair, since) for pair, since in opened.items() if pair not in wanted]
    entering = sorted(wanted - set(opened))
    # Asked before anything is closed: what covered the camera until now decides.
    starts = await _starts(connection, entering, at_us, recorded_us)
    await _close(connection, leaving, at_us)
    rows = [
        {"authorisation": pair[0], "camera": pair[1], "from_us": starts[pair], "until_us": None}
        for pair in entering
    ]
    await upsert(
        connection, coverages, rows, key=("authorisation", "camera", "from_us"), update=["until_us"]
    )


async def cameras_in_scope(connection: AsyncConnection, authorisation: str) -> list[str]:
    """Cameras an authorisation covers as they stand now, sorted."""
    statement = select(coverages.c.camera).where(
        coverages.c.authorisation == authorisation, coverages.c.until_us.is_(None)
    )
    return sorted((await connection.execute(statement)).scalars())


async def terms(
    connection: AsyncConnection, cameras: Sequence[str], now_us: int
) -> dict[str, list[Term]]:
    """The terms of cameras, by camera, in the order of their starts; old ones are left out."""
    found: dict[str, list[Term]] = {camera: [] for camera in cameras}
    source = coverages.join(
        authorisations, coverages.c.authorisation == authorisations.c.authorisation
    )
    columns = (
        coverages.c.camera,
        coverages.c.from_us,
        coverages.c.until_us,
        authorisations.c.authorisation,
        authorisations.c.number,
        authorisations.c.valid_from_us,
        authorisations.c.valid_until_us,
        authorisations.c.revoked_us,
        authorisations.c.retention_days,
    )
    for chunk in in_chunks(sorted(found)):
        statement = select(*columns).select_from(source).where(coverages.c.camera.in_(chunk))
        for row in (await connection.execute(statement)).mappings():
            ends = [row["valid_until_us"], row["revoked_us"], row["until_us"]]
            term = Term(
                authorisation=row["authorisation"],
                number=row["number"],
                from_us=max(row["valid_from_us"], row["from_us"]),
                until_us=min(end for end in ends if end is not None),
                retention_days=row["retention_days"],
            )
            if term.from_us < term.until_us and term.until_us > now_us - REMEMBERED_US:
                found[row["camera"]].append(term)
    for listed in found.values():
        listed.sort(key=lambda term: (term.from_us, term.authorisation))
    return found


async def _starts(
    connection: AsyncConnection, entering: Sequence[Pair], at_us: int, recorded_us: int
) -> dict[Pair, int]:
    """From when on each pair is covered."""
    if at_us >= recorded_us:
        return dict.fromkeys(entering, at_us)
    held = await terms(connection, [camera for _, camera in entering], recorded_us)
    since = {
        camera: authority.covered_since_us(listed, at_us, recorded_us)
        for camera, listed in held.items()
    }
    changed: dict[str, int] = {}
    for chunk in in_chunks(sorted({authorisation for authorisation, _ in entering})):
        statement = select(authorisations.c.authorisation, authorisations.c.updated_us).where(
            authorisations.c.authorisation.in_(chunk)
        )
        for row in (await connection.execute(statement)).mappings():
            changed[row["authorisation"]] = row["updated_us"]
    # When a place came into the scope is not kept; not later than the last change of the order.
    return {
        (authorisation, camera): min(max(since[camera], changed[authorisation]), recorded_us)
        for authorisation, camera in entering
    }


async def _lapse(connection: AsyncConnection, records: Sequence[CameraRecord], at_us: int) -> None:
    """Let the naming of cameras lapse that stand elsewhere now: coming back does not mend it."""
    zone_of = {record.camera: record.zone for record in records}
    table = authorisation_cameras
    gone: list[dict[str, str]] = []
    for chunk in in_chunks(sorted(zone_of)):
        named = select(table).where(table.c.camera.in_(chunk), table.c.lapsed_us.is_(None))
        gone.extend(
            {"of_authorisation": row["authorisation"], "of_camera": row["camera"]}
            for row in (await connection.execute(named)).mappings()
            if row["zone"] != zone_of[row["camera"]]
        )
    if gone:
        this_row = and_(
            table.c.authorisation == bindparam("of_authorisation"),
            table.c.camera == bindparam("of_camera"),
        )
        await connection.execute(update(table).where(this_row).values(lapsed_us=at_us), gone)


async def left_unmarked(connection: AsyncConnection) -> bool:
    """Whether the naming of a camera that stands elsewhere is not marked as lapsed.

    A program of the version before, at work during a rolling update, moves cameras and does not
    know the mark.
    """
    query = select(authorisation_cameras.c.camera).where(_STANDS_ELSEWHERE).limit(1)
    return (await connection.execute(query)).first() is not None


async def mark_left(connection: AsyncConnection) -> None:
    """Mark these namings as lapsed, since the camera went: coming back does not mend it."""
    went = (
        select(cameras.c.effective_us)
        .where(cameras.c.camera == authorisation_cameras.c.camera)
        .scalar_subquery()
    )
    marking = update(authorisation_cameras).where(_STANDS_ELSEWHERE).values(lapsed_us=went)
    await connection.execute(marking)


_STANDS_ELSEWHERE: Final = and_(
    authorisation_cameras.c.lapsed_us.is_(None),
    exists().where(
        cameras.c.camera == authorisation_cameras.c.camera,
        cameras.c.zone != authorisation_cameras.c.zone,
    ),
)


async def _wanted(connection: AsyncConnection, records: Sequence[CameraRecord]) -> set[Pair]:
    """Pairs of authorisation and camera that belong together as the cameras stand."""
    wanted: set[Pair] = set()
    in_zone: dict[str, list[str]] = {}
    for record in records:
        in_zone.setdefault(record.zone, []).append(record.camera)
    for zones in in_chunks(sorted(in_zone)):
        perimeter = select(authorisation_zones).where(authorisation_zones.c.zone.in_(zones))
        for row in (await connection.execute(perimeter)).mappings():
            wanted.update((row["authorisation"], camera) for camera in in_zone[row["zone"]])
    zone_of = {record.camera: record.zone for record in records}
    for chunk in in_chunks(sorted(zone_of)):
        named = select(authorisation_cameras).where(
            authorisation_cameras.c.camera.in_(chunk),
            authorisation_cameras.c.lapsed_us.is_(None),
        )
        for row in (await connection.execute(named)).mappings():
            if row["zone"] == zone_of[row["camera"]]:
                wanted.add((row["authorisation"], row["camera"]))
    return wanted


async def _open(connection: AsyncConnection, cameras: Sequence[str]) -> dict[Pair, int]:
    """Open coverage of cameras: pair to start."""
    opened: dict[Pair, int] = {}
    for chunk in in_chunks(sorted(cameras)):
        statement = select(coverages).where(
            coverages.c.camera.in_(chunk), coverages.c.until_us.is_(None)
        )
        for row in (await connection.execute(statement)).mappings():
            opened[row["authorisation"], row["camera"]] = row["from_us"]
    return opened


async def _close(
    connection: AsyncConnection, leaving: Sequence[tuple[str, str, int]], at_us: int
) -> None:
    this_row = and_(
        coverages.c.authorisation == bindparam("of_authorisation"),
        coverages.c.camera == bindparam("of_camera"),
        coverages.c.from_us == bindparam("of_from_us"),
    )
    keys = [
        {"of_authorisation": authorisation, "of_camera": camera, "of_from_us": since}
        for authorisation, camera, since in leaving
    ]
    # Coverage that would be empty never was.
    empty = [key for key in keys if int(str(key["of_from_us"])) >= at_us]
    if empty:
        await connection.execute(delete(coverages).where(this_row), empty)
    ended = [key for key in keys if key not in empty]
    if ended:
        await connection.execute(update(coverages).where(this_row).values(until_us=at_us), ended)
