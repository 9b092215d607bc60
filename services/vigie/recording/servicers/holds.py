"""HoldService: how far holds are in force."""

from collections.abc import Sequence
from typing import Any, Final

import grpc

from vigie.common.v1.types_pb2 import TimeWindow
from vigie.platform.clock import MonotonicClock
from vigie.platform.database import Database
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import current_call
from vigie.platform.reasons import PAGE_TOKEN_INVALID
from vigie.recording import reasons, requests
from vigie.recording.admission import zones_of
from vigie.recording.holdkeeper import HoldKeeper
from vigie.recording.index import holdings
from vigie.recording.index.holdings import HoldFacts
from vigie.recording.timeline.intervals import Interval
from vigie.recording.tokens import make_token, read_token
from vigie.recording.v1 import retention_pb2 as pb
from vigie.recording.v1.retention_pb2_grpc import HoldServiceServicer

_Context = grpc.aio.ServicerContext[Any, Any]
_DEFAULT_HOLDS: Final = 100


class HoldServicer(HoldServiceServicer):
    """Tells of holds; see the contract."""

    def __init__(
        self, database: Database, keeper: HoldKeeper, monotonic_clock: MonotonicClock
    ) -> None:
        self._database = database
        self._keeper = keeper
        self._monotonic_clock = monotonic_clock

    async def GetHold(self, request: pb.GetHoldRequest, context: _Context) -> pb.Hold:
        """See the contract."""
        hold = requests.identifier(request.name, "holds", "name")
        wait_us = request.wait.seconds * 1_000_000 + request.wait.nanos // 1000
        facts = await self._settled(hold, wait_us)
        zones = None if facts is None else await self._zones([facts])
        window = None if facts is None else (facts.start_us, facts.end_us)
        await current_call().admit(objects=[f"holds/{hold}"], zones=zones, window_us=window)
        if facts is None:
            raise VigieError(reasons.HOLD_NOT_FOUND, f"holds/{hold}", field="name")
        return hold_message(facts)

    async def _settled(self, hold: str, wait_us: int) -> HoldFacts | None:
        """The hold, once it is known and no longer pending, or when the time is over."""
        until_us = self._monotonic_clock.now_us() + wait_us
        while True:
            async with self._database.reading() as connection:
                facts = await holdings.read_hold(connection, hold)
            left_us = until_us - self._monotonic_clock.now_us()
            if (facts is not None and not facts.pending) or left_us <= 0:
                return facts
            await self._keeper.wait_for_change(min(left_us / 1e6, 0.25))

    async def _zones(self, holds: Sequence[HoldFacts]) -> list[str] | None:
        zones: set[str] = set()
        async with self._database.reading() as connection:
            for facts in holds:
                window = Interval(facts.start_us, facts.end_us)
                for camera in facts.cameras:
                    zones |= await zones_of(connection, camera, window)
        return None if "" in zones else sorted(zones)

    async def ListHolds(
        self, request: pb.ListHoldsRequest, context: _Context
    ) -> pb.ListHoldsResponse:
        """See the contract."""
        bound_to = f"holds {request.state}"
        before: tuple[int, str] | None = None
        if request.page_token:
            placed_us, name = read_token(
                request.page_token, bound_to, PAGE_TOKEN_INVALID, "page_token"
            )
            before = (placed_us, name)
        call = current_call()
        allowed = call.zones_allowed()
        limit = requests.page_size(request.page_size, _DEFAULT_HOLDS)
        shown: list[HoldFacts] = []
        more = True
        while more and len(shown) < limit:
            page = await self._page(limit, before)
            more = len(page) == limit
            for facts in page:
                if len(shown) == limit:
                    more = True
                    break
                before = (facts.placed_us, facts.hold)
                zones = await self._zones([facts])
                visible = allowed.everywhere if zones is None else all(z in allowed for z in zones)
                if visible and request.state in {0, application(facts)}:
                    shown.append(facts)
        await call.admit(objects=[f"holds/{facts.hold}" for facts in shown])
        response = pb.ListHoldsResponse(holds=[hold_message(facts) for facts in shown])
        if more and before is not None:
            response.next_page_token = make_token(list(before), bound_to)
        return response

    async def _page(self, limit: int, before: tuple[int, str] | None) -> list[HoldFacts]:
        async with self._database.reading() as connection:
            names = await holdings.list_holds(connection, limit=limit, before=before)
            found = [await holdings.read_hold(connection, name) for name in names]
        return [facts for facts in found if facts is not None]


def application(facts: HoldFacts) -> "pb.HoldApplication.ValueType":
    """How far a hold is in force."""
    if facts.released_us is not None:
        return pb.HOLD_APPLICATION_RELEASED
    return pb.HOLD_APPLICATION_PENDING if facts.pending else pb.HOLD_APPLICATION_APPLIED


def hold_message(facts: HoldFacts) -> pb.Hold:
    """A hold as the contract has it."""
    message = pb.Hold(
        name=f"holds/{facts.hold}",
        state=application(facts),
        cameras=[f"cameras/{camera}" for camera in facts.cameras],
        window=TimeWindow(
            start_time=requests.timestamp(facts.start_us),
            end_time=requests.timestamp(facts.end_us),
        ),
        object_count=facts.object_count,
        held_object_count=facts.placed_count,
        held_size_bytes=facts.placed_bytes,
        legal_reference=facts.legal_reference,
        evidence_request=facts.evidence_request,
        place_time=requests.timestamp(facts.placed_us),
        problem=facts.problem,
    )
    if facts.applied_us is not None:
        message.apply_time.CopyFrom(requests.timestamp(facts.applied_us))
    if facts.released_us is not None:
        message.release_time.CopyFrom(requests.timestamp(facts.released_us))
    return message
