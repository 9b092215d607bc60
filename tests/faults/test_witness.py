"""What the witness of deliveries calls wrong: it would be worth nothing if it called nothing so."""

from collections.abc import Callable
from typing import Final

import pytest

from faults.services.witness import Delivery, assert_preceded
from vigie.audit.v1 import events_pb2

PATH: Final = "/vigie.recording.v1.PlaybackService/Play"
FIRST_US: Final = 1_000_000_000
SHOWN: Final = (400_000_000, 402_000_000)
Change = Callable[[Delivery, events_pb2.AccessRecord, events_pb2.AccessRecord], None]


def _made() -> tuple[Delivery, events_pb2.AccessRecord, events_pb2.AccessRecord]:
    """A delivery and the two records that it should have."""
    delivery = Delivery(
        PATH, "request", "cameras/cam", timed=True, size_bytes=10, first_us=FIRST_US, shown=SHOWN,
        ended=True,
    )  # fmt: skip
    opened = events_pb2.AccessRecord(
        phase=events_pb2.ACCESS_PHASE_OPENED, decision=events_pb2.DECISION_ALLOWED, method=PATH,
        objects=["cameras/cam"], window_start_us=SHOWN[0], window_end_us=SHOWN[1],
    )  # fmt: skip
    opened.time.FromMicroseconds(FIRST_US)
    closed = events_pb2.AccessRecord(phase=events_pb2.ACCESS_PHASE_CLOSED, delivered_bytes=10)
    return delivery, opened, closed


def test_a_delivery_with_its_records_is_well() -> None:
    delivery, opened, closed = _made()
    assert_preceded(delivery, [opened, closed])
    assert_preceded(delivery, [opened])  # whoever served it was killed


@pytest.mark.parametrize(
    "change",
    [
        lambda delivery, opened, closed: opened.time.FromMicroseconds(FIRST_US + 100_000),
        lambda delivery, opened, closed: setattr(opened, "decision", events_pb2.DECISION_REFUSED),
        lambda delivery, opened, closed: setattr(opened, "method", "/another"),
        lambda delivery, opened, closed: opened.objects.__setitem__(0, "cameras/another"),
        lambda delivery, opened, closed: setattr(opened, "window_start_us", SHOWN[0] + 1),
        lambda delivery, opened, closed: setattr(opened, "window_end_us", SHOWN[1] - 1),
        lambda delivery, opened, closed: setattr(closed, "delivered_bytes", 9),
        lambda delivery, opened, closed: setattr(closed, "delivered_bytes", 11),
        lambda delivery, opened, closed: setattr(opened, "phase", events_pb2.ACCESS_PHASE_CLOSED),
        lambda delivery, opened, closed: setattr(closed, "phase", events_pb2.ACCESS_PHASE_OPENED),
    ],
)
def test_a_wrong_record_is_seen(change: Change) -> None:
    delivery, opened, closed = _made()
    change(delivery, opened, closed)
    with pytest.raises(AssertionError):
        assert_preceded(delivery, [opened, closed])
