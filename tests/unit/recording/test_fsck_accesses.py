"""I5: a closing is held against what was opened before it, however long before."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from vigie.audit.v1 import events_pb2 as pb
from vigie.platform.tally import Tally
from vigie.recording.fsck.accesses import Requests


@pytest.fixture
def requests() -> Iterator[Requests]:
    with closing(Tally()) as tally:
        yield Requests(tally)


def record(request: str, phase: str, decision: str = "ALLOWED") -> pb.AccessRecord:
    return pb.AccessRecord(
        request_id=request,
        method="Play",
        phase=pb.AccessPhase.Value(f"ACCESS_PHASE_{phase}"),
        decision=pb.Decision.Value(f"DECISION_{decision}"),
    )


async def named(requests: Requests) -> list[str]:
    return [finding.where["request"] async for finding in requests.unopened()]


async def test_one_that_was_opened_just_now_or_long_ago_is_no_finding(requests: Requests) -> None:
    requests.take(record("long-ago", "OPENED"))
    assert await named(requests) == []
    requests.take(record("now", "OPENED"))
    requests.take(record("now", "CLOSED"))
    requests.take(record("long-ago", "CLOSED"))
    assert await named(requests) == []
    requests.take(record("long-ago", "CLOSED"))  # written a second time
    assert await named(requests) == []


async def test_one_that_is_opened_after_it_was_closed_is_a_finding(requests: Requests) -> None:
    requests.take(record("late", "CLOSED"))
    requests.take(record("late", "OPENED"))
    assert await named(requests) == ["late"]


async def test_one_that_was_refused_was_not_opened(requests: Requests) -> None:
    requests.take(record("refused", "OPENED", "REFUSED"))
    requests.take(record("refused", "CLOSED", "REFUSED"))
    assert await named(requests) == ["refused"]


async def test_it_is_asked_a_thousand_at_a_time(requests: Requests) -> None:
    for number in range(999):
        requests.take(record(f"{number}", "OPENED"))
    assert not requests.is_full()
    requests.take(record("nobody", "CLOSED"))
    assert requests.is_full()
    assert await named(requests) == ["nobody"]
    assert not requests.is_full()
