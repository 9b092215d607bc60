"""The ends of runs of which nothing is left."""

from dataclasses import dataclass, field

from sqlalchemy import delete, select

from vigie.platform.database import Database, in_chunks
from vigie.platform.errors import VigieError
from vigie.platform.objectstore import ObjectStore
from vigie.recording.index.tables import DESTROYED_SPANS, RUN_ENDS, SEGMENTS, SPANS


@dataclass(slots=True)
class EndsRemoved:
    """How many, and for which reasons the store kept others."""

    removed: int = 0
    refused: list[str] = field(default_factory=list)


async def remove_run_ends(database: Database, store: ObjectStore) -> EndsRemoved:
    """Remove span end objects, and their rows, of runs whose last segment is destroyed.

    Spans, which are few, say which runs these may be; then the rows of these runs are asked.
    """
    done = EndsRemoved()
    listed = select(SPANS.c.run).where(SPANS.c.run == RUN_ENDS.c.run).exists()
    last_destroyed = (
        select(DESTROYED_SPANS.c.run)
        .where(
            DESTROYED_SPANS.c.run == RUN_ENDS.c.run,
            DESTROYED_SPANS.c.camera == RUN_ENDS.c.camera,
            DESTROYED_SPANS.c.first_number <= RUN_ENDS.c.segment_count - 1,
            DESTROYED_SPANS.c.last_number >= RUN_ENDS.c.segment_count - 1,
        )
        .exists()
    )
    async with database.reading() as connection:
        query = select(RUN_ENDS.c.run, RUN_ENDS.c.object_key).where(~listed, last_destroyed)
        ends = (await connection.execute(query)).all()
        rest: set[str] = set()
        for chunk in in_chunks([run for run, _ in ends]):
            rows = select(SEGMENTS.c.run).distinct().where(SEGMENTS.c.run.in_(chunk))
            rest |= set((await connection.execute(rows)).scalars())
    for run, key in ends:
        if run in rest:
            continue
        try:
            if key:
                await store.delete(key)
        except VigieError as error:
            done.refused.append(error.reason.name)
            continue
        async with database.transaction() as connection:
            await connection.execute(delete(RUN_ENDS).where(RUN_ENDS.c.run == run))
        done.removed += 1
    return done
