"""ProbeService: tries a source for the registry, which checks and records who asks."""

import asyncio
from typing import Any, Final

from vigie.ingest import reasons
from vigie.ingest.probe import ProbeReport, probe
from vigie.ingest.supervisor.plan import Engines, LoginOpener, ReceptionPlan, choose_engine
from vigie.ingest.upload.events import gap_cause
from vigie.ingest.v1 import probe_pb2, probe_pb2_grpc
from vigie.platform.clock import MICROSECONDS_PER_SECOND
from vigie.platform.errors import VigieError
from vigie.platform.grpc.call import current_call

DEFAULT_TIMEOUT_SECONDS: Final = 15.0


class ProbeServicer(probe_pb2_grpc.ProbeServiceServicer):
    """See `probe.proto`.

    Args:
        engines: reception engines by name, started.
        logins: opens sealed credentials.
        concurrency: most sources tried at a time.
        verify_tls: whether certificates of rtsps cameras must be trusted.
    """

    def __init__(
        self, engines: Engines, logins: LoginOpener, *, concurrency: int, verify_tls: bool
    ) -> None:
        self._engines = engines
        self._logins = logins
        self._slots = asyncio.Semaphore(concurrency)
        self._verify_tls = verify_tls

    async def ProbeSource(
        self, request: probe_pb2.ProbeSourceRequest, context: Any
    ) -> probe_pb2.ProbeSourceResponse:
        """See `probe.proto`."""
        del context
        await current_call().admit(objects=[f"cameras/{request.camera}"])
        plan = ReceptionPlan(
            camera=request.camera,
            uri=request.stream_uri,
            engine=choose_engine(request.engine, request.stream_uri),
            key_id=request.credentials.key_id,
            ciphertext=request.credentials.ciphertext,
        )
        try:
            source = plan.source(self._logins, verify_tls=self._verify_tls)
        except VigieError as error:
            return probe_pb2.ProbeSourceResponse(
                cause=gap_cause("CREDENTIALS_REFUSED"), detail=error.reason.description_en
            )
        if plan.engine not in self._engines:
            return probe_pb2.ProbeSourceResponse(
                cause=gap_cause("STREAM_UNSUPPORTED"), detail=f"no engine {plan.engine} runs here"
            )
        if self._slots.locked():
            raise VigieError(reasons.PROBE_BUSY, "try again in a few seconds")
        seconds = DEFAULT_TIMEOUT_SECONDS
        if request.HasField("timeout"):
            seconds = request.timeout.ToMicroseconds() / MICROSECONDS_PER_SECOND
        async with self._slots:
            engine = self._engines[plan.engine]
            return response(await probe(engine, source, timeout_seconds=seconds))


def response(report: ProbeReport) -> probe_pb2.ProbeSourceResponse:
    """What was found, as the contract says it."""
    found = probe_pb2.ProbeSourceResponse(
        reachable=report.cause is None,
        detail=report.detail,
        frame_rate_millihertz=round((report.frames_per_second or 0) * 1000),
        bit_rate_bps=report.bitrate_bps or 0,
        camera_clock_offset_us=report.camera_clock_offset_us or 0,
        has_camera_clock=report.camera_clock_offset_us is not None,
        has_audio=report.has_audio,
        server=report.server,
    )
    if report.cause is not None:
        found.cause = gap_cause(report.cause.value)
    if report.parameters is not None:
        found.codec = report.parameters.codec_string
        found.width, found.height = report.parameters.width, report.parameters.height
    if report.key_frame_interval_seconds is not None:
        interval_us = round(report.key_frame_interval_seconds * MICROSECONDS_PER_SECOND)
        found.key_frame_interval.FromMicroseconds(interval_us)
    return found
