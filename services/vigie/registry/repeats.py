"""Requests that are repeated (AIP-155): the same ``request_id`` gets the same answer."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy import delete, insert, select

from vigie.platform.clock import WallClock
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import Call
from vigie.platform.sealing import Sealer
from vigie.registry.reasons import REQUEST_ID_REUSED
from vigie.registry.tables import requests

Answer = TypeVar("Answer", bound=Message)


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

    async def once(
        self,
        call: Call,
        request: Message,
        answer_type: type[Answer],
        work: Callable[[AsyncConnection], Awaitable[Answer]],
    ) -> Answer:
        """The answer to ``request``: of ``work`` (see `Database.write`), or of the time before.

        Raises:
            VigieError: REQUEST_ID_REUSED: the identifier belongs to another request.
        """
        request_id = str(getattr(request, "request_id", "")).lower()
        if not request_id:
            return await self._database.write(work)
        method, subject = request.DESCRIPTOR.full_name, call.caller.subject
        key = {"subject": subject, "method": method, "request_id": request_id}
        fingerprint = self._sealer.fingerprint(request.SerializeToString(deterministic=True))

        async def remembered(connection: AsyncConnection) -> Answer:
            kept = await self._find(connection, key, fingerprint)
            if kept is not None:
                return answer_type.FromString(kept)
            answer = await work(connection)
            row = {
                **key,
                "fingerprint": fingerprint,
                "response": answer.SerializeToString(deterministic=True),
                "created_us": self._wall_clock.now_us(),
            }
            await connection.execute(insert(requests), row)
            return answer

        return await self._database.write(remembered)

    async def _find(
        self, connection: AsyncConnection, key: dict[str, str], fingerprint: str
    ) -> bytes | None:
        limit_us = self._wall_clock.now_us() - self._memory_us
        await connection.execute(delete(requests).where(requests.c.created_us < limit_us))
        condition = [requests.c[name] == value for name, value in key.items()]
        result = await connection.execute(select(requests).where(*condition))
        row = result.mappings().one_or_none()
        if row is None:
            return None
        if row["fingerprint"] != fingerprint:
            raise VigieError(
                REQUEST_ID_REUSED,
                "this request_id was used for a request with other contents",
                field="request_id",
            )
        return bytes(row["response"])
