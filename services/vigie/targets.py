"""Which contexts a target is made of, and what each context stands on: two tables.

`vigie serve TARGET` runs one of `TARGETS`. A process opens what the contexts in it need, and
nothing else: a database is always that of one context.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vigie.platform.grpc.services import CONTEXTS


@dataclass(frozen=True, slots=True)
class Needs:
    """What a context stands on, beside the event log, which every host writes accesses to.

    Attributes:
        database: tables of its own.
        store: the bucket.
        sealer: the sealing key, to seal or open credentials of cameras.
        spool: a local disk that no other process writes to.
        calls: contexts whose services it calls.
        topics: topics it writes or reads.
    """

    database: bool = False
    store: bool = False
    sealer: bool = False
    spool: bool = False
    calls: tuple[str, ...] = ()
    topics: tuple[str, ...] = ()


NEEDS_OF: Final[Mapping[str, Needs]] = {
    # People and their rights come from a file; there is nothing to keep.
    "access": Needs(),
    "audit": Needs(database=True, topics=("accesses", "quarantine")),
    "registry": Needs(database=True, sealer=True, calls=("ingest",), topics=("cameras",)),
    # Keeps its state in the spool and in what it has published: it records while databases are
    # away.
    "ingest": Needs(
        store=True, sealer=True, spool=True, topics=("cameras", "segments", "stream-status")
    ),
    "recording": Needs(
        database=True,
        store=True,
        topics=("cameras", "holds", "segments", "stream-status", "destructions", "quarantine"),
    ),
    "evidence": Needs(
        database=True,
        store=True,
        calls=("recording",),
        topics=("cameras", "evidence-requests", "holds"),
    ),
}
"""Context -> what it stands on."""

ACCESSES: Final = "accesses"
"""The topic every host writes to."""
ALL: Final = "all"
GATEWAY: Final = "gateway"


@dataclass(frozen=True, slots=True)
class Target:
    """What one process runs.

    Attributes:
        name: after ``vigie serve``.
        contexts: in it; none: the gateway.
        one_of_many: other processes serve the other contexts.
    """

    name: str
    contexts: tuple[str, ...]
    one_of_many: bool = True

    def needs(self, what: str) -> tuple[str, ...]:
        """The contexts in it that need ``what`` (a flag of `Needs`)."""
        return tuple(name for name in self.contexts if getattr(NEEDS_OF[name], what))

    @property
    def topics(self) -> tuple[str, ...]:
        """Every topic that is used in it, sorted; none: it does not use the log."""
        if not self.contexts:
            return ()
        return tuple(sorted({ACCESSES, *(t for c in self.contexts for t in NEEDS_OF[c].topics)}))


TARGETS: Final[Mapping[str, Target]] = {
    ALL: Target(ALL, CONTEXTS, one_of_many=False),
    **{name: Target(name, (name,)) for name in CONTEXTS},
    GATEWAY: Target(GATEWAY, ()),
}
"""Name -> target."""
