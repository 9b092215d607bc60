"""Requests that are repeated (AIP-155): the same ``request_id`` gets the same answer."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from sqlalchemy import RowMapping, delete, insert, select

from vigie.platform.clock import WallClock
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import Call
from vigie.platform.reasons import ETAG_MISMATCH
from vigie.platform.sealing import Sealer
from vigie.registry.reasons import REQUEST_ID_REUSED
from vigie.registry.tables import requests

Answer = TypeVar("Answer", bound=Message)
# Beside the row of an answer stands one that says for which zones its caller was admitted: a row
# and not a column, so that a program of before, which knows neither, works on the same table.
_ADMISSION: Final = "#admitted"


@dataclass(frozen=True, slots=True)
class Admission:
    """For which zones a change was admitted.

    Attributes:
        zones: their identifiers; ``None``: everywhere.
        is_repeated: it was found in what is remembered of the same request.
    """

    zones: Sequence[str] | None
    is_repeated: bool = False


class Repeats:
    """Runs changes once, each in a transaction that also remembers its answer.

    Args:
        database: where the answers are kept, beside the changes.
        sealer: makes the fingerprints of requests (they may hold passwords).
        wall_clock: tells when an answer is forgotten.
        memory_us: how long answers are kept, microseconds.
    """

    def __init__(
        self, database: Database, sealer: Sealer, wall_clock: WallClock, *, memory_us: int
    ) -> None:
        self._database = database
        self._sealer = sealer
        self._wall_clock = wall_clock
        self._memory_us = memory_us

    async def admission(self, call: Call, request: Message) -> Admission | None:
        """For which zones the same request was admitted when it was done; ``None``: it was not.

        To be asked before the place of what is changed is looked up: it may have been moved or
        removed, by this very request. The caller must be admitted for these zones again.
        """
        key = _key(call, request)
        if key is None:
            return None
        key["method"] += _ADMISSION
        async with self._database.reading() as connection:
            row = await self._row(connection, key)
        if row is None or not self._is_of(row, request):
            return None
        return Admission(json.loads(row["response"]), is_repeated=True)

    async def once(
        self,
        call: Call,
        request: Message,
        answer_type: type[Answer],
        work: Callable[[AsyncConnection], Awaitable[Answer]],
        *,
        admission: Admission | None = None,
    ) -> Answer:
        """The answer to ``request``: of ``work`` (see `Database.write`), or of the time before.

        ``admission`` is remembered where it follows from what the register says at the time.

        Raises:
            VigieError: REQUEST_ID_REUSED: the identifier belongs to another request.
                ETAG_MISMATCH: the request was forgotten since its admission was asked for.
        """
        key = _key(call, request)
        if key is None:
            return await self._database.write(work)
        fingerprint = self._sealer.fingerprint(_content(request))

        async def remembered(connection: AsyncConnection) -> Answer:
            await self._forget(connection)
            kept = await self._row(connection, key)
            if kept is not None:
                if not self._is_of(kept, request):
                    raise VigieError(
                        REQUEST_ID_REUSED,
                        "this request_id was used for a request with other contents",
                        field="request_id",
                    )
                return answer_type.FromString(bytes(kept["response"]))
            if admission is not None and admission.is_repeated:
                # Admitted for the zones of that time, and what is there now was not looked at.
                raise VigieError(ETAG_MISMATCH, "the answer of the time before was forgotten")
            answer = await work(connection)
            row = {"fingerprint": fingerprint, "created_us": self._wall_clock.now_us()}
            response = answer.SerializeToString(deterministic=True)
            rows = [{**key, **row, "response": response}]
            if admission is not None:
                zones = None if admission.zones is None else list(admission.zones)
                method = key["method"] + _ADMISSION
                response = json.dumps(zones).encode()
                rows.append({**key, **row, "method": method, "response": response})
            await connection.execute(insert(requests), rows)
            return answer

        return await self._database.write(remembered)

    async def _forget(self, connection: AsyncConnection) -> None:
        await connection.execute(delete(requests).where(requests.c.created_us < self._limit_us()))

    async def _row(self, connection: AsyncConnection, key: dict[str, str]) -> RowMapping | None:
        condition = [requests.c[name] == value for name, value in key.items()]
        condition.append(requests.c.created_us >= self._limit_us())
        return (
            (await connection.execute(select(requests).where(*condition))).mappings().one_or_none()
        )

    def _limit_us(self) -> int:
        return self._wall_clock.now_us() - self._memory_us

    def _is_of(self, row: RowMapping, request: Message) -> bool:
        # Under any key: the current one may have been changed since.
        return str(row["fingerprint"]) in self._sealer.fingerprints(_content(request))


def _key(call: Call, request: Any) -> dict[str, str] | None:
    """What tells a request from others; ``None``: it has no identifier."""
    request_id = _small(request)
    if not request_id:
        return None
    method, subject = request.DESCRIPTOR.full_name, call.caller.subject
    return {"subject": subject, "method": method, "request_id": request_id}


def _content(request: Any) -> bytes:
    """What must be the same in a repetition: a UUID may be written in letters of either size."""
    same = type(request)()
    same.CopyFrom(request)
    same.request_id = _small(request)
    return bytes(same.SerializeToString(deterministic=True))


def _small(request: Any) -> str:
    return str(getattr(request, "request_id", "")).lower()
