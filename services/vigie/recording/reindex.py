"""Rebuilds the index from the bucket alone (`vigie recording reindex`), in two parts.

First the timeline, from the names in the bucket (`rebuild.timeline`): it takes the place of the
one in use at its very end, all at once. Then rows of segments, from the attributes of the objects,
or, where these are lost, from their content (`rebuild.describing`): hour by hour, each for good.
The second part may be left to the product, which does it while it runs.

Run it while nothing else writes the index, or let the consumer replay what came meanwhile:
indexing is idempotent.
"""

from vigie.platform.database import Database
from vigie.platform.objectstore import ObjectStore
from vigie.recording.rebuild.describing import Describer
from vigie.recording.rebuild.report import ReindexReport
from vigie.recording.rebuild.timeline import TimelineRebuilder

__all__ = ["ReindexReport", "Reindexer"]


class Reindexer:
    """Rebuilds the index.

    Args:
        database: where the index is.
        store: the bucket.
        prefix: what the keys of footage begin with.
    """

    def __init__(self, database: Database, store: ObjectStore, *, prefix: str = "footage") -> None:
        self._timeline = TimelineRebuilder(database, store, prefix=prefix)
        self._describer = Describer(database, store)

    async def rebuild(self, *, timeline_only: bool = False) -> ReindexReport:
        """Rebuild everything, or the timeline only.

        Raises:
            VigieError: store or database are unavailable. The timeline is as it was, or whole
                already; the hours that lack their rows are noted.
        """
        report = ReindexReport()
        await self._timeline.rebuild(report)
        if not timeline_only:
            await self._describer.describe_all(report)
        report.pending = await self._describer.pending()
        return report
