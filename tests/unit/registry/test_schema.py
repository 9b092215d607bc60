"""Steps of the schema that do more than add."""

from pathlib import Path

from sqlalchemy import insert, select

from databases import open_any_database
from unit.registry.conftest import database_kind
from vigie.platform.database.migrations import MigrationSet, migrate
from vigie.registry import camerastore
from vigie.registry.lifecycle import IN_SERVICE
from vigie.registry.model import CameraRecord
from vigie.registry.module import MIGRATIONS
from vigie.registry.tables import authorisation_cameras

__all__ = ["database_kind"]


async def test_cameras_that_are_away_already_have_lapsed(
    tmp_path: Path, database_kind: str
) -> None:
    first = tmp_path / "first"
    (first / "versions").mkdir(parents=True)
    file = MIGRATIONS.scripts / "versions" / "0001_registry.py"
    (first / "versions" / file.name).write_bytes(file.read_bytes())
    database = await open_any_database(tmp_path / "data" / "vigie.db")
    try:
        await migrate(database, MigrationSet(MIGRATIONS.context, first))
        async with database.transaction() as connection:
            await camerastore.save(
                connection,
                [
                    CameraRecord(camera, camera, zone, "", "63113", IN_SERVICE, "", effective_us=7)
                    for camera, zone in (("cam-away", "zae-south"), ("cam-here", "zae-north"))
                ],
            )
            for camera in ("cam-away", "cam-here"):
                row = {"authorisation": "a-1", "camera": camera, "zone": "zae-north"}
                await connection.execute(insert(authorisation_cameras), row)
        await migrate(database, MIGRATIONS)
        async with database.reading() as connection:
            rows = (await connection.execute(select(authorisation_cameras))).mappings()
            lapsed = {row["camera"]: row["lapsed_us"] for row in rows}
        assert lapsed == {"cam-away": 7, "cam-here": None}
    finally:
        await database.close()
