"""Keeps requests; every change, its custody entry and its event commit together."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import sqlalchemy as sa
from google.protobuf.timestamp_pb2 import Timestamp

from vigie.evidence import reasons
from vigie.evidence.model import (
    RELEASES_HOLD,
    TRANSITIONS,
    CustodyStep,
    EvidenceRequest,
    Missing,
    PackageInfo,
    Person,
    State,
)
from vigie.evidence.tables import CUSTODY, REQUEST
from vigie.evidence.v1 import events_pb2
from vigie.platform.clock import WallClock, from_us
from vigie.platform.database import Database
from vigie.platform.database.connection import AsyncConnection
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog, TopicSpec
from vigie.platform.eventlog.events import make_event
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.reasons import ETAG_MISMATCH

SOURCE = "vigie/evidence"
PAGE = 200
STEPS_TOLD = 100
"""Of a long custody, at its beginning and at its end."""
REQUESTS_TOPIC = "evidence-requests"
HOLDS_TOPIC = "holds"
TOPICS = (
    TopicSpec(
        REQUESTS_TOPIC,
        compacted=False,
        partitions=16,
        retention_days=365,
        why="Every step of every evidence request, for custody and for other systems.",
    ),
    TopicSpec(
        HOLDS_TOPIC,
        compacted=True,
        partitions=16,
        why="Footage that must not be destroyed; recording applies it to the store.",
    ),
)
PRODUCT = Person(SOURCE, "Vigie", "")
"""The product itself, as an actor."""


@dataclass(frozen=True, slots=True)
class Step:
    """A change of a request: what is new, who did it, and how it is told."""

    action: str
    actor: Person
    detail: str
    changes: dict[str, Any]
    state: State | None = None


class EvidenceRepository:
    """The requests of this installation."""

    def __init__(
        self,
        database: Database,
        event_log: EventLog,
        wall_clock: WallClock,
        identifiers: IdentifierSource,
    ) -> None:
        self._database = database
        self._event_log = event_log
        self._wall_clock = wall_clock
        self._identifiers = identifiers

    async def create(
        self, request: EvidenceRequest, *, client_request_id: str, client_request_digest: str
    ) -> EvidenceRequest:
        """Store a new request with its hold; a repeated ``client_request_id`` returns the first.

        Raises:
            VigieError: EVIDENCE_REQUEST_ID_REUSED when the same identifier asked for another thing.
        """

        async def work(connection: AsyncConnection) -> EvidenceRequest:
            known = await self._by_client_id(connection, client_request_id)
            if known is not None:
                document, digest = known
                if digest != client_request_digest:
                    raise VigieError(
                        reasons.REQUEST_ID_REUSED,
                        "request_id names another request",
                        field="request_id",
                    )
                return load_request(document)
            await connection.execute(
                sa.insert(REQUEST).values(
                    **_columns(request),
                    client_request_id=client_request_id or None,
                    client_request_digest=client_request_digest,
                )
            )
            # The hold comes first (product.md: holds are placed before anything else).
            await self._tell_hold(connection, request, released=False)
            actor = request.requester
            await self._record(connection, request, actor, "REQUESTED", request.purpose)
            await self._record(connection, request, PRODUCT, "HOLD_PLACED", request.hold)
            return request

        return await self._database.write(work)

    async def get(self, request: str) -> EvidenceRequest | None:
        """One request, or ``None``."""
        async with self._database.reading() as connection:
            return await self._read(connection, request)

    async def custody(self, request: str) -> list[CustodyStep]:
        """The chain of custody, whole, oldest first."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(_steps_of(request))).all()
        return [CustodyStep(*row) for row in rows]

    async def custody_told(self, request: str) -> list[CustodyStep]:
        """The chain of custody as an answer has room for it.

        Every download is a step, as often as somebody calls. None is forgotten; of very many the
        first and the last ones are told, and how many stand between them.
        """
        count = sa.select(sa.func.count()).where(CUSTODY.c.request == request)
        async with self._database.reading() as connection:
            steps = int((await connection.execute(count)).scalar_one())
            left_out = steps - 2 * STEPS_TOLD
            query = _steps_of(request)
            if left_out > 0:
                begin = CUSTODY.c.step < STEPS_TOLD
                query = query.where(begin | (CUSTODY.c.step >= STEPS_TOLD + left_out))
            rows = (await connection.execute(query)).all()
        told = [CustodyStep(*row) for row in rows]
        if left_out > 0:
            until = told[STEPS_TOLD]
            detail = f"{left_out} steps; every download is in the access log"
            told.insert(
                STEPS_TOLD,
                CustodyStep(
                    until.time_us, PRODUCT.subject, PRODUCT.display_name, "STEPS_LEFT_OUT", detail
                ),
            )
        return told

    async def list(
        self,
        *,
        states: Sequence[State] = (),
        case_reference: str = "",
        before: str = "",
        limit: int,
    ) -> list[EvidenceRequest]:
        """Requests, newest first (identifiers sort by time), those before ``before``."""
        query = sa.select(REQUEST.c.document).order_by(REQUEST.c.request.desc()).limit(limit)
        if states:
            query = query.where(REQUEST.c.state.in_([str(state) for state in states]))
        if case_reference:
            query = query.where(REQUEST.c.case_reference == case_reference)
        if before:
            query = query.where(REQUEST.c.request < before)
        async with self._database.reading() as connection:
            return [load_request(row[0]) for row in (await connection.execute(query)).all()]

    async def every(self, states: Sequence[State] = ()) -> Sequence[EvidenceRequest]:
        """All requests in some states (in any, without), newest first, however many."""
        found: list[EvidenceRequest] = []
        before = ""
        while page := await self.list(states=states, before=before, limit=PAGE):
            found += page
            before = page[-1].request
        return found

    async def counts(self) -> dict[State, int]:
        """How many requests stand in each state, zeros included."""
        query = sa.select(REQUEST.c.state, sa.func.count()).group_by(REQUEST.c.state)
        counts = dict.fromkeys(State, 0)
        async with self._database.reading() as connection:
            for state, count in (await connection.execute(query)).all():
                counts[State(state)] = count
        return counts

    async def leads(self) -> bool:
        """Whether this process is the one that makes packages now."""
        return await self._database.read(self._event_log.leads)

    async def advance(
        self, request: str, step: Step, *, etag: str = "", leading: bool = False
    ) -> EvidenceRequest:
        """Change a request by one step.

        Args:
            request: its identifier.
            step: what is changed.
            etag: of the request that was looked at; empty: any.
            leading: only if this process is the one that makes packages; EVIDENCE_STATE_WRONG
                otherwise: another has taken the request over.

        Raises:
            VigieError: EVIDENCE_REQUEST_NOT_FOUND, EVIDENCE_STATE_WRONG, ETAG_MISMATCH.
        """

        async def work(connection: AsyncConnection) -> EvidenceRequest:
            if leading and not await self._event_log.leads(connection):
                raise VigieError(
                    reasons.EVIDENCE_STATE_WRONG, f"another process makes the package of {request}"
                )
            found = await self._read(connection, request)
            if found is None:
                raise VigieError(reasons.EVIDENCE_REQUEST_NOT_FOUND, request)
            if etag and etag != found.etag:
                raise VigieError(ETAG_MISMATCH, f"{found.name} has changed", field="etag")
            target = step.state or found.state
            if step.state is not None and target not in TRANSITIONS[found.state]:
                raise VigieError(
                    reasons.EVIDENCE_STATE_WRONG,
                    f"{found.name} is {found.state}, not to be {target}",
                )
            changed = replace(
                found,
                **step.changes,
                state=target,
                revision=found.revision + 1,
                update_us=self._wall_clock.now_us(),
            )
            await connection.execute(
                sa.update(REQUEST).where(REQUEST.c.request == request).values(**_columns(changed))
            )
            await self._record(connection, changed, step.actor, step.action, step.detail)
            if target in RELEASES_HOLD and found.state not in RELEASES_HOLD:
                await self._tell_hold(connection, changed, released=True)
            return changed

        return await self._database.write(work)

    async def set_progress(self, request: str, permille: int) -> None:
        """Note how far the package is; no custody, no event: it is not a step."""
        async with self._database.transaction() as connection:
            found = await self._read(connection, request)
            if found is not None and found.progress_permille != permille:
                changed = replace(found, progress_permille=permille, revision=found.revision + 1)
                await connection.execute(
                    sa.update(REQUEST)
                    .where(REQUEST.c.request == request)
                    .values(**_columns(changed))
                )

    async def note(self, request: str, actor: Person, action: str, detail: str) -> None:
        """Add a custody entry without changing the request (a download)."""
        async with self._database.transaction() as connection:
            found = await self._read(connection, request)
            if found is not None:
                await self._record(connection, found, actor, action, detail)

    async def _read(self, connection: AsyncConnection, request: str) -> EvidenceRequest | None:
        query = sa.select(REQUEST.c.document).where(REQUEST.c.request == request)
        document = (await connection.execute(query)).scalar_one_or_none()
        return None if document is None else load_request(document)

    async def _by_client_id(
        self, connection: AsyncConnection, client_request_id: str
    ) -> tuple[str, str] | None:
        if not client_request_id:
            return None
        query = sa.select(REQUEST.c.document, REQUEST.c.client_request_digest)
        query = query.where(REQUEST.c.client_request_id == client_request_id)
        row = (await connection.execute(query)).one_or_none()
        return None if row is None else (str(row[0]), str(row[1]))

    async def _record(
        self,
        connection: AsyncConnection,
        request: EvidenceRequest,
        actor: Person,
        action: str,
        detail: str,
    ) -> None:
        """Custody entry and event of one step.

        Steps are told in the order in which they were taken: one that another process took, whose
        clock is ahead, is not told as the later one.
        """
        before = sa.select(sa.func.count(), sa.func.max(CUSTODY.c.time_us))
        before = before.where(CUSTODY.c.request == request.request)
        step, latest_us = (await connection.execute(before)).one()
        now_us = max(self._wall_clock.now_us(), latest_us or 0)
        await connection.execute(
            sa.insert(CUSTODY).values(
                request=request.request,
                step=step,
                time_us=now_us,
                actor=actor.subject,
                display_name=actor.display_name,
                action=action,
                detail=detail,
            )
        )
        message = events_pb2.EvidenceRequestEvent(
            request=request.request,
            state=str(request.state),
            actor=actor.subject,
            time=_timestamp(now_us),
            detail=f"{action}: {detail}",
            package_sha256=request.package.sha256 if request.package else "",
        )
        await self._append(connection, REQUESTS_TOPIC, request.request, message)

    async def _tell_hold(
        self, connection: AsyncConnection, request: EvidenceRequest, *, released: bool
    ) -> None:
        message = hold_state(request, self._wall_clock.now_us() if released else None)
        await self._append(connection, HOLDS_TOPIC, request.hold, message)

    async def _append(
        self,
        connection: AsyncConnection,
        topic: str,
        key: str,
        message: events_pb2.HoldState | events_pb2.EvidenceRequestEvent,
    ) -> None:
        event = make_event(
            message,
            key=key,
            source=SOURCE,
            wall_clock=self._wall_clock,
            event_id=self._identifiers.text(),
        )
        await self._event_log.append(topic, [event], connection=connection)


def _steps_of(request: str) -> sa.Select[tuple[Any, ...]]:
    columns = [CUSTODY.c[name] for name in CustodyStep.__dataclass_fields__]
    return sa.select(*columns).where(CUSTODY.c.request == request).order_by(CUSTODY.c.step)


def hold_state(request: EvidenceRequest, released_us: int | None) -> events_pb2.HoldState:
    """What is told of the hold of a request; ``released_us``: when it was taken off."""
    message = events_pb2.HoldState(
        hold=request.hold,
        cameras=request.cameras,
        start_us=request.start_us,
        end_us=request.end_us,
        legal_reference=f"{request.case_reference}: {request.legal_basis}",
        evidence_request=request.name,
        place_time=_timestamp(request.create_us),
        placed_by=request.requester.subject,
    )
    if released_us is not None:
        message.release_time.CopyFrom(_timestamp(released_us))
    return message


def _timestamp(instant_us: int) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(from_us(instant_us))
    return stamp


def _columns(request: EvidenceRequest) -> dict[str, Any]:
    return {
        "request": request.request,
        "state": str(request.state),
        "case_reference": request.case_reference,
        "create_us": request.create_us,
        "revision": request.revision,
        "document": json.dumps(asdict(request), ensure_ascii=False),
    }


def load_request(document: str) -> EvidenceRequest:
    """The request in a row's document."""
    fields: dict[str, Any] = json.loads(document)
    for name in ("requester", "decider"):
        fields[name] = Person(**fields[name]) if fields[name] else None
    fields["state"] = State(fields["state"])
    fields["package"] = PackageInfo(**fields["package"]) if fields["package"] else None
    fields["missing"] = tuple(Missing(**each) for each in fields["missing"])
    fields["cameras"] = tuple(fields["cameras"])
    fields["zones"] = tuple(fields["zones"])
    return EvidenceRequest(**fields)
