"""The checker over the demonstration's data, once the product has stopped and let go of it."""

from vigie.demo.scene import Scene
from vigie.platform.database import open_database
from vigie.platform.eventlog import Quarantine, open_event_log
from vigie.platform.objectstore.directory import open_directory_store
from vigie.recording.fsck.run import FsckOptions, Installation
from vigie.recording.fsck.run import run_fsck as check


async def run_fsck(scene: Scene) -> tuple[list[str], int]:
    """What it found, one line each, and how many things it looked at."""
    database = await open_database(scene.stage.data / "vigie.db")
    try:
        store = await open_directory_store(scene.stage.folder / "store", scene.wall)
        try:
            event_log = await open_event_log(database, scene.wall)
            installation = Installation(
                database=database,
                store=store,
                event_log=event_log,
                wall_clock=scene.wall,
                numbering=event_log,
                quarantine=Quarantine(database, scene.wall, event_log),
                spool=scene.stage.data / "spool",
            )
            report = await check(installation, FsckOptions(deep=True, grace_us=0))
        finally:
            await store.close()
    finally:
        await database.close()
    return [str(finding) for finding in report.findings], sum(report.checked.values())
