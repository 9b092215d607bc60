"""What stands in the schema of each context: its own tables, and those of the platform it uses.

Ingest and access keep no tables. On PostgreSQL `vigie migrate` makes all of this; the embedded
database is brought up to date by the modules when they start.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from vigie.audit.tables import MIGRATIONS as AUDIT
from vigie.evidence.tables import MIGRATIONS as EVIDENCE
from vigie.platform.database import MigrationSet
from vigie.platform.eventlog.kafka.outbox import OUTBOX_MIGRATIONS
from vigie.platform.eventlog.tables import CONSUMER_MIGRATIONS
from vigie.recording.index.tables import MIGRATIONS as RECORDING
from vigie.registry.module import MIGRATIONS as REGISTRY

# Positions and quarantine of what a context consumes, and what it has to publish.
_EVENTS: Final = (CONSUMER_MIGRATIONS, OUTBOX_MIGRATIONS)

SCHEMAS: Final[Mapping[str, Sequence[MigrationSet]]] = {
    "registry": (*_EVENTS, REGISTRY),
    "recording": (*_EVENTS, RECORDING),
    "evidence": (*_EVENTS, EVIDENCE),
    "audit": (*_EVENTS, AUDIT),
}
"""Context (and schema) -> its chains of migrations."""
