"""Lists of cameras: filter, order and page as database queries."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, or_, true

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import ZoneSet
from vigie.registry import authority, camerastore, coverage
from vigie.registry.filters import Term, parse_filter
from vigie.registry.model import CameraRecord
from vigie.registry.reasons import ORDER_INVALID
from vigie.registry.tables import cameras
from vigie.registry.v1.cameras_pb2 import CameraAuthorisationState
from vigie.registry.v1.events_pb2 import CameraLifecycle

ORDERS: Final = {
    "name": "camera",
    "display_name": "display_name",
    "zone": "zone",
    "commune": "commune",
    "lifecycle": "lifecycle",
    "create_time": "created_us",
    "update_time": "updated_us",
}
_AUTHORISATION: Final = "authorisation_state"


@dataclass(frozen=True, slots=True)
class Order:
    """An order of a list: a column, then the identifier, both in one direction."""

    column: str
    descending: bool

    def key_of(self, record: CameraRecord) -> list[str | int]:
        """What a page token remembers of the last entry."""
        return [getattr(record, self.column), record.camera]

    def clauses(self) -> list[ColumnElement[Any]]:
        """ORDER BY."""
        columns = [cameras.c[self.column], cameras.c.camera]
        return [column.desc() if self.descending else column.asc() for column in columns]

    def after(self, key: Sequence[str | int]) -> ColumnElement[bool]:
        """What stands behind ``key`` in this order."""
        column, tie = cameras.c[self.column], cameras.c.camera
        if self.descending:
            return or_(column < key[0], and_(column == key[0], tie < key[1]))
        return or_(column > key[0], and_(column == key[0], tie > key[1]))


def parse_order(text: str) -> Order:
    """The order named by ``order_by``; empty: by name.

    Raises:
        VigieError: ORDER_INVALID.
    """
    words = text.split() or ["name"]
    descending = len(words) == 2 and words[1] == "desc"  # noqa: PLR2004 - a field and its direction
    if words[0] not in ORDERS or (len(words) > 1 and not descending):
        raise VigieError(
            ORDER_INVALID,
            f"cannot order by {text!r}; give one of {', '.join(ORDERS)}, or one with ` desc`",
            field="order_by",
        )
    return Order(ORDERS[words[0]], descending)


class Selection:
    """Cameras that meet a filter and stand in zones the caller may see.

    Raises:
        VigieError: FILTER_INVALID.
    """

    def __init__(self, filter_text: str, zones: ZoneSet) -> None:
        terms = parse_filter(filter_text)
        # Not a column: follows from dates and the time of day.
        self._late = tuple(term for term in terms if term.field == _AUTHORISATION)
        early = [_condition(term) for term in terms if term.field != _AUTHORISATION]
        self._condition = and_(true(), _in_zones(zones), *early)

    async def all(self, connection: AsyncConnection, now_us: int) -> list[CameraRecord]:
        """Every camera selected, by name."""
        return await self._meeting(connection, self._condition, Order("camera", False), now_us)

    async def page(
        self,
        connection: AsyncConnection,
        order: Order,
        *,
        after: Sequence[str | int] | None,
        size: int,
        now_us: int,
    ) -> tuple[list[CameraRecord], bool]:
        """``size`` cameras behind the key ``after``, and whether more follow."""
        condition = self._condition if after is None else and_(self._condition, order.after(after))
        limit = None if self._late else size + 1
        found = await self._meeting(connection, condition, order, now_us, limit=limit)
        return found[:size], len(found) > size

    async def count(self, connection: AsyncConnection, now_us: int) -> int:
        """How many cameras are selected."""
        if self._late:
            return len(await self.all(connection, now_us))
        return await camerastore.count(connection, self._condition)

    async def _meeting(
        self,
        connection: AsyncConnection,
        condition: ColumnElement[bool],
        order: Order,
        now_us: int,
        *,
        limit: int | None = None,
    ) -> list[CameraRecord]:
        found = await camerastore.find(connection, condition, order=order.clauses(), limit=limit)
        if not self._late:
            return found
        terms = await coverage.terms(connection, [record.camera for record in found], now_us)
        return [
            record
            for record in found
            if self._meets_late(authority.camera_state(terms[record.camera], now_us))
        ]

    def _meets_late(self, state: CameraAuthorisationState.ValueType) -> bool:
        name = CameraAuthorisationState.Name(state).removeprefix("CAMERA_AUTHORISATION_STATE_")
        return all((term.value == name) != term.negated for term in self._late)


def _in_zones(zones: ZoneSet) -> ColumnElement[bool]:
    if zones.everywhere:
        return true()
    return cameras.c.zone.in_(_sorted(zones.names))


def _sorted(names: Collection[str]) -> list[str]:
    return sorted(names)


def _condition(term: Term) -> ColumnElement[bool]:
    if not term.field:
        return cameras.c.search_text.contains(term.value, autoescape=True)
    value: str | int = term.value
    if term.field == "lifecycle":
        value = CameraLifecycle.Value(f"CAMERA_LIFECYCLE_{term.value}")
    column = cameras.c[term.field]
    return column != value if term.negated else column == value
