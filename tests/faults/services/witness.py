"""What people were delivered, as their side saw it, against the records of accesses.

No byte of footage leaves the product without a durable record that says so before (I5). Whoever
is delivered notes the call and what came; when the faults are over, the audit log is exported and
each delivery must find the record that precedes it.
"""

import base64
import json
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

import grpc.aio

from e2e.callers import patiently
from e2e.harness import WALL, Installation, until
from vigie.audit.v1 import audit_service_pb2, audit_service_pb2_grpc, events_pb2
from vigie.platform.grpc.pipeline import REQUEST_ID_KEY

_PLAY: Final = "/vigie.recording.v1.PlaybackService/Play"
_LIVE: Final = "/vigie.ingest.v1.LiveService/WatchLive"
_DELIVERING: Final = frozenset(
    {
        _PLAY,
        _LIVE,
        "/vigie.recording.v1.PlaybackService/GetClip",
        "/vigie.evidence.v1.EvidenceService/DownloadPackage",
    }
)
_SAME_CLOCK_US: Final = 1_000
Records = dict[str, list[events_pb2.AccessRecord]]


@dataclass(slots=True)
class Delivery:
    """One call by which footage came.

    Attributes:
        path: of the method.
        request_id: by which the records know it.
        resource: camera or request for evidence.
        size_bytes: of footage that came.
        first_us: when the first of it came; 0: nothing came.
        shown: begin and end of the footage that came, where it is told.
        ended: the stream came to its end.
        timed: the clock of whoever wrote the record was right.
    """

    path: str
    request_id: str
    resource: str
    timed: bool
    size_bytes: int = 0
    first_us: int = 0
    shown: tuple[int, int] | None = None
    ended: bool = False

    def note(self, message: Any) -> None:
        """Something came."""
        size = message.ByteSize() if self.path == _LIVE else _footage_of(message)
        if size and not self.first_us:
            self.first_us = WALL.now_us()
        self.size_bytes += size
        if self.path == _PLAY and message.HasField("fragment"):
            start = message.fragment.show_start_time.ToMicroseconds()
            end = message.fragment.show_end_time.ToMicroseconds()
            begun = start if self.shown is None else min(start, self.shown[0])
            self.shown = (begun, max(end, self.shown[1] if self.shown else 0))


def _footage_of(message: Any) -> int:
    kind = message.WhichOneof("payload" if "payload" in _oneofs(message) else "content")
    if kind == "fragment":
        return len(message.fragment.data)
    if kind == "header":
        return len(message.header.initialization)
    return len(message.data) if kind == "data" else 0


def _oneofs(message: Any) -> Any:
    return message.DESCRIPTOR.oneofs_by_name


@dataclass(slots=True)
class Witness:
    """Keeps every delivery.

    Attributes:
        deliveries: in the order of the calls.
    """

    deliveries: list[Delivery] = field(default_factory=list)
    _timed: bool = True

    @contextmanager
    def clocks_wrong(self) -> Iterator[None]:
        """While this lasts, the times of records say nothing."""
        self._timed = False
        try:
            yield
        finally:
            self._timed = True

    def watched(self, channel: grpc.aio.Channel) -> Any:
        """The channel, whose calls are noted."""
        return _Channel(channel, self._begun)

    def _begun(self, path: str, request: Any) -> Delivery | None:
        if path not in _DELIVERING:
            return None
        resource = request.camera if hasattr(request, "camera") else request.name
        made = Delivery(path, str(uuid.uuid4()), resource, self._timed)
        self.deliveries.append(made)
        return made

    async def confirm(self, vigie: Installation) -> str:
        """Wait until every delivery has its record; returns what was delivered.

        Raises AssertionError: a record is missing or wrong.
        """
        wanted = [each for each in self.deliveries if each.size_bytes]
        assert wanted, "nobody was delivered anything"
        records: Records = {}

        async def recorded() -> bool:
            records.clear()
            # Who is behind the log says so, and exports nothing that is not whole.
            records.update(await patiently(lambda: _exported(vigie)))
            return all(each.request_id in records for each in wanted)

        try:
            await until(recorded, "every delivery is on record", seconds=60)
        except TimeoutError as error:
            missing = [each for each in wanted if each.request_id not in records]
            raise AssertionError(f"delivered, and not on record: {missing}") from error
        for each in wanted:
            assert_preceded(each, records[each.request_id])
        kinds = ", ".join(sorted({each.path.rpartition("/")[2] for each in wanted}))
        size = sum(each.size_bytes for each in wanted)
        return f"{len(wanted)} deliveries ({kinds}), {size / 1e6:.0f} MB"


def assert_preceded(delivery: Delivery, records: Sequence[events_pb2.AccessRecord]) -> None:
    """Raises AssertionError: these are not the records that a delivery must have."""
    opened = [each for each in records if each.phase == events_pb2.ACCESS_PHASE_OPENED]
    assert len(opened) == 1, (delivery, records)
    (record,) = opened
    assert record.decision == events_pb2.DECISION_ALLOWED, (delivery, record)
    assert record.method == delivery.path, (delivery, record)
    assert delivery.resource in record.objects, (delivery, record)
    if delivery.timed:
        assert record.time.ToMicroseconds() <= delivery.first_us + _SAME_CLOCK_US, (
            delivery, record,
        )  # fmt: skip
    if delivery.shown is not None:
        start, end = delivery.shown
        assert record.window_start_us <= start, (delivery, record)
        assert end <= record.window_end_us, (delivery, record)
    for closed in (each for each in records if each.phase == events_pb2.ACCESS_PHASE_CLOSED):
        assert closed.delivered_bytes >= delivery.size_bytes, (delivery, closed)
        if delivery.ended:
            assert closed.delivered_bytes == delivery.size_bytes, (delivery, closed)


async def _exported(vigie: Installation) -> Records:
    """The whole audit log: identifier of the request -> its records."""
    stub = vigie.stub(audit_service_pb2_grpc.AuditServiceStub, "audit", person="controle")
    request = audit_service_pb2.ExportAccessesRequest(
        format=audit_service_pb2.EXPORT_FORMAT_JSON_LINES
    )
    text = b"".join([chunk.data async for chunk in stub.ExportAccesses(request)])
    found: Records = defaultdict(list)
    for line in text.splitlines():
        told = base64.b64decode(json.loads(line)["record_bytes"])
        record = events_pb2.AccessRecord.FromString(told)
        found[record.request_id].append(record)
    return found


class _Channel:
    """A channel whose calls with many answers are noted; for generated stubs."""

    def __init__(
        self, channel: grpc.aio.Channel, begun: Callable[[str, Any], Delivery | None]
    ) -> None:
        self._channel = channel
        self._begun = begun

    def __getattr__(self, name: str) -> Any:
        return getattr(self._channel, name)

    def unary_stream(self, path: str, *arguments: Any, **named: Any) -> Any:
        ask = self._channel.unary_stream(path, *arguments, **named)

        def call(request: Any, **how: Any) -> Any:
            delivery = self._begun(path, request)
            if delivery is None:
                return ask(request, **how)
            metadata = ((REQUEST_ID_KEY, delivery.request_id),)
            return _Call(ask(request, metadata=metadata, **how), delivery)

        return call


class _Call:
    def __init__(self, call: Any, delivery: Delivery) -> None:
        self._call = call
        self._delivery = delivery

    def __aiter__(self) -> AsyncIterator[Any]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[Any]:
        async for message in self._call:
            self._delivery.note(message)
            yield message
        self._delivery.ended = True

    def cancel(self) -> bool:
        return bool(self._call.cancel())
