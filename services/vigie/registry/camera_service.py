"""``vigie.registry.v1.CameraService``."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Protocol

from google.protobuf.message import Message
from sqlalchemy import RowMapping

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.grpc.call import current_call
from vigie.platform.paging import fitting, query_of
from vigie.registry import camerastore, convert, names
from vigie.registry.admission import admit_to_camera, admit_to_change
from vigie.registry.camerabook import Target
from vigie.registry.csvservice import CsvDesk, chunks
from vigie.registry.desk import Desk, page_size
from vigie.registry.lifecycle import Step
from vigie.registry.probedesk import ProbeDesk
from vigie.registry.repeats import Admission
from vigie.registry.selection import Selection, parse_order
from vigie.registry.v1.cameras_pb2 import (
    Camera,
    CameraRevision,
    CommissionCameraRequest,
    CreateCameraRequest,
    ExportCamerasRequest,
    ExportCamerasResponse,
    GetCameraRequest,
    ImportCamerasRequest,
    ImportCamerasResponse,
    ListCameraRevisionsRequest,
    ListCameraRevisionsResponse,
    ListCamerasRequest,
    ListCamerasResponse,
    MoveCameraRequest,
    ProbeCameraRequest,
    ProbeCameraResponse,
    ResumeCameraRequest,
    RetireCameraRequest,
    SuspendCameraRequest,
    UpdateCameraRequest,
    WatchCamerasRequest,
    WatchCamerasResponse,
)
from vigie.registry.v1.cameras_pb2_grpc import CameraServiceServicer
from vigie.registry.watch import CameraWatch


class _StepRequest(Protocol):
    """What the requests of all steps have in common."""

    @property
    def name(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def etag(self) -> str: ...


class CameraServicer(CameraServiceServicer):
    """Serves cameras: admits the caller, then leaves the work to the rules.

    Args:
        desk: what the services share.
        csv: import and export.
        probes: trying cameras.
        watch: the stream of changes.
    """

    def __init__(self, desk: Desk, csv: CsvDesk, probes: ProbeDesk, watch: CameraWatch) -> None:
        self._desk = desk
        self._csv = csv
        self._probes = probes
        self._watch = watch

    async def CreateCamera(self, request: CreateCameraRequest, context: Any) -> Camera:
        """See the contract."""
        call = current_call()
        zone = names.identifier(request.camera.zone)
        await call.admit(
            objects=[names.camera_name(request.camera_id)], zones=[zone] if zone else ()
        )

        async def work(connection: AsyncConnection) -> Camera:
            return await self._desk.book.create(
                connection, request.camera_id, request.camera, call.caller.subject
            )

        return await self._desk.repeats.once(call, request, Camera, work)

    async def GetCamera(self, request: GetCameraRequest, context: Any) -> Camera:
        """See the contract."""
        call = current_call()
        record = await admit_to_camera(call, self._desk.database, request.name)

        async def work(connection: AsyncConnection) -> tuple[str, Camera]:
            fresh = await camerastore.get(connection, record.camera) or record
            return fresh.zone, await self._desk.book.read(connection, fresh)

        zone, camera = await self._desk.database.read(work)
        if zone != record.zone:
            # It was moved since the caller was admitted: he has to be admitted to where it is.
            await call.admit(objects=[request.name], zones=[zone])
        return camera

    async def ListCameras(self, request: ListCamerasRequest, context: Any) -> ListCamerasResponse:
        """See the contract."""
        call = current_call()
        await call.admit(objects=["cameras/-"])
        query = query_of(request)
        cursor = self._desk.tokens.open_page(request.page_token, query)
        order = parse_order(request.order_by)
        selection = Selection(request.filter, call.zones_allowed())
        size = page_size(request.page_size)
        now_us = self._desk.wall_clock.now_us()
        async with self._desk.database.reading() as connection:
            records, more = await selection.page(
                connection,
                order,
                after=cursor["after"] if cursor else None,
                size=size,
                now_us=now_us,
            )
            cameras = fitting(await self._desk.book.read_all(connection, records))
            answer = ListCamerasResponse(
                cameras=cameras, total_size=await selection.count(connection, now_us)
            )
        if more or len(cameras) < len(records):
            cursor = {"after": order.key_of(records[len(cameras) - 1])}
            answer.next_page_token = self._desk.tokens.seal(cursor, query)
        return answer

    async def UpdateCamera(self, request: UpdateCameraRequest, context: Any) -> Camera:
        """See the contract."""
        call = current_call()
        name = request.camera.name
        zone, admission = await self._admit_to_change(request, name)
        target = Target(names.identifier(name), zone, request.camera.etag, "camera.etag")

        async def work(connection: AsyncConnection) -> Camera:
            return await self._desk.book.update(connection, target, request, call.caller.subject)

        return await self._desk.repeats.once(call, request, Camera, work, admission=admission)

    async def CommissionCamera(self, request: CommissionCameraRequest, context: Any) -> Camera:
        """See the contract."""
        return await self._step(request, request, Step.COMMISSION)

    async def SuspendCamera(self, request: SuspendCameraRequest, context: Any) -> Camera:
        """See the contract."""
        return await self._step(request, request, Step.SUSPEND)

    async def ResumeCamera(self, request: ResumeCameraRequest, context: Any) -> Camera:
        """See the contract."""
        return await self._step(request, request, Step.RESUME)

    async def RetireCamera(self, request: RetireCameraRequest, context: Any) -> Camera:
        """See the contract."""
        return await self._step(request, request, Step.RETIRE)

    async def MoveCamera(self, request: MoveCameraRequest, context: Any) -> Camera:
        """See the contract."""
        call = current_call()
        to_zone = names.identifier(request.zone)
        zone, admission = await self._admit_to_change(request, request.name, to_zone)
        target = Target(names.identifier(request.name), zone, request.etag)

        async def work(connection: AsyncConnection) -> Camera:
            return await self._desk.book.move(connection, target, request, call.caller.subject)

        return await self._desk.repeats.once(call, request, Camera, work, admission=admission)

    async def ListCameraRevisions(
        self, request: ListCameraRevisionsRequest, context: Any
    ) -> ListCameraRevisionsResponse:
        """See the contract; states in zones the caller may not read are left out."""
        call = current_call()
        record = await admit_to_camera(call, self._desk.database, request.name)
        query = query_of(request)
        cursor = self._desk.tokens.open_page(request.page_token, query)
        size = page_size(request.page_size)

        def token_after(row: RowMapping) -> str:
            return self._desk.tokens.seal({"before": row["revision"]}, query)

        async with self._desk.database.reading() as connection:
            rows = await camerastore.revisions_before(
                connection, record.camera, cursor["before"] if cursor else None, size + 1
            )
        zones = call.zones_allowed()
        visible = [row for row in rows[:size] if row["zone"] in zones]
        revisions = fitting([_revision(row) for row in visible])
        answer = ListCameraRevisionsResponse(revisions=revisions)
        if len(revisions) < len(visible):
            answer.next_page_token = token_after(visible[len(revisions) - 1])
        elif len(rows) > size:
            answer.next_page_token = token_after(rows[size - 1])
        return answer

    async def ImportCameras(
        self, request: ImportCamerasRequest, context: Any
    ) -> ImportCamerasResponse:
        """See the contract."""
        return await self._csv.import_cameras(current_call(), request)

    async def ExportCameras(
        self, request: ExportCamerasRequest, context: Any
    ) -> AsyncIterator[ExportCamerasResponse]:
        """See the contract."""
        call = current_call()
        await call.admit(objects=["cameras/-"])
        cameras = await self._csv.export(request.filter, call.zones_allowed())
        for chunk in chunks(cameras):
            yield ExportCamerasResponse(csv=chunk)

    async def ProbeCamera(self, request: ProbeCameraRequest, context: Any) -> ProbeCameraResponse:
        """See the contract."""
        return await self._probes.probe(current_call(), request)

    async def WatchCameras(
        self, request: WatchCamerasRequest, context: Any
    ) -> AsyncIterator[WatchCamerasResponse]:
        """See the contract."""
        call = current_call()
        await call.admit(objects=["cameras/-"])
        zones = call.zones_allowed()
        after = self._watch.position_of(request.resume_token, zones)
        async with aclosing(self._watch.follow(after, zones)) as messages:
            async for message in messages:
                yield message

    async def _step(self, request: Message, named: _StepRequest, step: Step) -> Camera:
        call = current_call()
        zone, admission = await self._admit_to_change(request, named.name)
        target = Target(names.identifier(named.name), zone, named.etag)

        async def work(connection: AsyncConnection) -> Camera:
            return await self._desk.book.take_step(
                connection, target, step, named.reason, call.caller.subject
            )

        return await self._desk.repeats.once(call, request, Camera, work, admission=admission)

    async def _admit_to_change(
        self, request: Message, name: str, *further_zones: str
    ) -> tuple[str, Admission]:
        database, repeats = self._desk.database, self._desk.repeats
        return await admit_to_change(
            current_call(), database, repeats, request, name, further_zones=further_zones
        )


def _revision(row: RowMapping) -> CameraRevision:
    return CameraRevision(
        camera=convert.kept_camera(row["snapshot"]),
        action=row["action"],
        reason=row["reason"],
        actor=row["actor"],
        record_time=convert.timestamp(row["recorded_us"]),
    )
