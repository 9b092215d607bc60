"""What an administrator does with the data directory goes on record like any access, first."""

import getpass
from collections.abc import Sequence

from vigie.audit.recorder import EventLogAccessRecorder
from vigie.cli.installation import Opened
from vigie.common.v1 import access_pb2
from vigie.platform.clock import SystemMonotonicClock, WallClock
from vigie.platform.eventlog import EventLog
from vigie.platform.grpc.record import AccessEntry, Phase
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.metrics import MetricsRegistry


def actor() -> str:
    """Who works on this machine: nobody has shown a token, so the system tells."""
    return f"local:{getpass.getuser()}"


async def put_on_record(
    installation: Opened,
    method: str,
    objects: Sequence[str],
    reason: str,
    *,
    erasure: bool = False,
) -> None:
    """Record a change made on this machine, before it is made; durable when this returns.

    Args:
        installation: what is changed.
        method: ``group/command`` of the command line.
        objects: names of what is changed.
        reason: why, in the words of who does it.
        erasure: whether something goes for good.

    Raises:
        VigieError: EVENT_LOG_UNAVAILABLE: nothing may be changed then.
    """
    await record_locally(
        installation.event_log, installation.clock, method, objects, reason, erasure=erasure
    )


async def record_locally(
    event_log: EventLog,
    clock: WallClock,
    method: str,
    objects: Sequence[str],
    reason: str,
    *,
    erasure: bool = False,
) -> None:
    """The same where no context's storage is open."""
    recorder = EventLogAccessRecorder(
        event_log,
        wall_clock=clock,
        monotonic_clock=SystemMonotonicClock(),
        metrics=MetricsRegistry(),
    )
    identifiers = IdentifierSource(clock)
    entry = AccessEntry(
        record=identifiers.text(),
        request_id=identifiers.text(),
        phase=Phase.OPENED,
        time_us=clock.now_us(),
        subject=actor(),
        peer="local",
        method=f"/vigie.cli/{method}",
        kind=access_pb2.RECORD_KIND_ERASURE if erasure else access_pb2.RECORD_KIND_MODIFICATION,
        permission="data-directory",
        allowed=True,
        objects=tuple(objects),
        purpose=reason,
    )
    await recorder.record(entry)
