"""RetentionService: what will be destroyed, what was."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import grpc
from sqlalchemy import Select, Table, and_, or_, select

from vigie.platform.clock import WallClock
from vigie.platform.database import Database, in_chunks
from vigie.platform.grpc.call import Call, current_call
from vigie.platform.reasons import PAGE_TOKEN_INVALID
from vigie.recording import requests
from vigie.recording.admission import Access, Admission, Whereabouts
from vigie.recording.index import reader
from vigie.recording.index.convert import timestamp_us
from vigie.recording.index.tables import DESTRUCTIONS, FOLDED_DESTRUCTIONS
from vigie.recording.model import PIECE_LIMIT_US
from vigie.recording.retention.planner import Forecast, RetentionPlanner
from vigie.recording.timeline.intervals import Interval
from vigie.recording.tokens import make_token, read_token
from vigie.recording.v1 import events_pb2
from vigie.recording.v1 import retention_pb2 as pb
from vigie.recording.v1.retention_pb2_grpc import RetentionServiceServicer

_Context = grpc.aio.ServicerContext[Any, Any]
_Row = tuple[int, str, Any]
"""Start, key or run, row."""
_DEFAULT_DESTRUCTIONS: Final = 200
_REGISTER: Final = ((DESTRUCTIONS, "object_key"), (FOLDED_DESTRUCTIONS, "run"))
"""The tables of the register, and what orders their rows that begin at once."""


class RetentionServicer(RetentionServiceServicer):
    """Tells of retention; see the contract."""

    def __init__(
        self, database: Database, planner: RetentionPlanner, wall_clock: WallClock
    ) -> None:
        self._database = database
        self._planner = planner
        self._wall_clock = wall_clock
        self._admission = Admission(database)

    async def PreviewRetention(
        self, request: pb.PreviewRetentionRequest, context: _Context
    ) -> pb.PreviewRetentionResponse:
        """See the contract."""
        named = requests.cameras(request.cameras, limit=requests.MAX_COMPLETENESS_CAMERAS)
        now_us = self._wall_clock.now_us()
        at_us = timestamp_us(request.time) if request.HasField("time") else now_us
        call = current_call()
        if named:
            await self._admission.admit(call, Access(named, Interval(now_us, now_us + 1)))
        else:
            named = await self._allowed(call)
            await call.admit(objects=[f"cameras/{camera}" for camera in named])
        stored = set(await self._planner.cameras())
        response = pb.PreviewRetentionResponse(time=requests.timestamp(at_us))
        for camera in sorted(stored.intersection(named)):
            forecast = await self._planner.forecast(camera, at_us)
            response.forecasts.append(forecast_message(forecast))
        return response

    async def _allowed(self, call: Call) -> list[str]:
        """Cameras the caller may ask about, by name."""
        allowed = call.zones_allowed()
        async with self._database.reading() as connection:
            zones = await reader.current_zones(connection)
        cameras = {camera for camera, zone in zones.items() if zone in allowed}
        if allowed.everywhere:
            cameras |= set(await self._planner.cameras())
        return sorted(cameras)

    async def ListDestructions(
        self, request: pb.ListDestructionsRequest, context: _Context
    ) -> pb.ListDestructionsResponse:
        """See the contract."""
        camera = request.camera and requests.identifier(request.camera, "cameras", "camera")
        window = (
            requests.window(request.window, limit_us=1 << 62)
            if request.HasField("window")
            else Interval(0, 1 << 62)
        )
        bound_to = f"destructions {camera} {window}"
        after: tuple[int, str] | None = None
        if request.page_token:
            start_us, key = read_token(
                request.page_token, bound_to, PAGE_TOKEN_INVALID, "page_token"
            )
            after = (start_us, key)
        call = current_call()
        if camera:
            await self._admission.admit(call, Access([camera], window))
            seen = _Seen([camera])
        else:
            seen = await self._seen_by(call)
            await call.admit()
        limit = requests.page_size(request.page_size, _DEFAULT_DESTRUCTIONS)
        rows = await self._destructions(seen, window, after, limit + 1)
        response = pb.ListDestructionsResponse(
            destructions=[destruction_message(row) for *_, row in rows[:limit]]
        )
        if len(rows) > limit:
            start_us, key, _ = rows[limit - 1]
            response.next_page_token = make_token([start_us, key], bound_to)
        return response

    async def _seen_by(self, call: Call) -> "_Seen":
        """Footage of the zones that the caller may ask about, wherever its camera stands now."""
        allowed = call.zones_allowed()
        if allowed.everywhere:
            return _Seen(None)
        async with self._database.reading() as connection:
            whereabouts = await Whereabouts.read(connection)
        return _Seen(
            whereabouts.ever_in(allowed),
            lambda row: all(
                zone in allowed
                for zone in whereabouts.during(row.camera, Interval(row.start_us, row.end_us))
            ),
        )

    async def _destructions(
        self, seen: "_Seen", window: Interval, after: tuple[int, str] | None, limit: int
    ) -> list[_Row]:
        """Entries and what was folded of others, by start and then by key, or run."""
        found: list[_Row] = []
        while True:
            page = await self._page(seen.cameras, window, after, limit)
            found += [one for one in page if seen.shows(one[2])]
            if len(page) < limit or len(found) >= limit:
                return found[:limit]
            after = page[-1][:2]

    async def _page(
        self,
        cameras: Sequence[str] | None,
        window: Interval,
        after: tuple[int, str] | None,
        limit: int,
    ) -> list[_Row]:
        found: list[_Row] = []
        async with self._database.reading() as connection:
            for table, key in _REGISTER:
                query = _select(table, key, window, after).limit(limit)
                for chunk in [None] if cameras is None else in_chunks(cameras):
                    chosen = query if chunk is None else query.where(table.c.camera.in_(chunk))
                    rows = (await connection.execute(chosen)).all()
                    found += [(row.start_us, getattr(row, key), row) for row in rows]
        found.sort(key=lambda one: one[:2])
        return found[:limit]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a caller may see of the register: cameras (``None``: all), and which of their rows."""

    cameras: Sequence[str] | None
    shows: Callable[[Any], bool] = lambda _row: True


def _select(table: Table, key: str, window: Interval, after: tuple[int, str] | None) -> Select[Any]:
    """Rows of a table, in order, behind those that were given before."""
    start, name = table.c.start_us, table.c[key]
    query = select(table).where(start < window.end_us).order_by(start, name)
    if table is FOLDED_DESTRUCTIONS:
        # A row is of up to six hours, and may begin before the window.
        query = query.where(
            start > window.start_us - PIECE_LIMIT_US, table.c.end_us > window.start_us
        )
    else:
        query = query.where(start >= window.start_us)
    if after is None:
        return query
    return query.where(
        start >= after[0], or_(start > after[0], and_(start == after[0], name > after[1]))
    )


def forecast_message(forecast: Forecast) -> pb.RetentionForecast:
    """A forecast as the contract has it."""
    message = pb.RetentionForecast(
        camera=f"cameras/{forecast.camera}",
        object_count=forecast.object_count,
        size_bytes=forecast.size_bytes,
        held_object_count=forecast.held_count,
    )
    if forecast.oldest_us is not None and forecast.newest_us is not None:
        message.oldest_time.CopyFrom(requests.timestamp(forecast.oldest_us))
        message.newest_time.CopyFrom(requests.timestamp(forecast.newest_us))
    if forecast.next_expiry_us is not None:
        message.next_expiry_time.CopyFrom(requests.timestamp(forecast.next_expiry_us))
    return message


def destruction_message(row: Any) -> pb.Destruction:
    """An entry of the register, or several that were folded, as the contract has them."""
    if hasattr(row, "last_number"):
        return pb.Destruction(
            camera=f"cameras/{row.camera}",
            run=row.run,
            number=row.first_number,
            last_number=row.last_number,
            start_time=requests.timestamp(row.start_us),
            end_time=requests.timestamp(row.end_us),
            reason=events_pb2.DESTRUCTION_REASON_RETENTION,
        )
    message = pb.Destruction(
        object_key=row.object_key,
        camera=f"cameras/{row.camera}",
        run=row.run,
        number=row.number,
        start_time=requests.timestamp(row.start_us),
        end_time=requests.timestamp(row.end_us),
        sha256=row.sha256,
        reason=row.reason,
        basis=row.basis,
        decision_time=requests.timestamp(row.decided_us),
    )
    if row.destroyed_us is not None:
        message.destroy_time.CopyFrom(requests.timestamp(row.destroyed_us))
    return message
