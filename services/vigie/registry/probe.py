"""Trying a camera. The registry cannot reach cameras; ingest can, and is asked."""

from collections.abc import Callable
from typing import Final, Protocol

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration

from vigie.common.v1.types_pb2 import GapCause
from vigie.ingest.v1.probe_pb2 import ProbeSourceRequest, ProbeSourceResponse
from vigie.ingest.v1.probe_pb2_grpc import ProbeServiceStub
from vigie.platform.errors import VigieError
from vigie.registry.reasons import PROBE_UNAVAILABLE
from vigie.registry.v1.cameras_pb2 import ProbeCameraResponse

PROBE_SERVICE: Final = "vigie.ingest.v1.ProbeService"
# What the network and the queue of the other service may add to the time of the probe itself.
_ALLOWANCE_SECONDS: Final = 5.0
_SECOND_US: Final = 1_000_000


class SourceProber(Protocol):
    """Connects to a source and says what it sends."""

    async def probe(
        self, request: ProbeSourceRequest, *, timeout_seconds: float
    ) -> ProbeSourceResponse:
        """Try the source.

        Raises:
            VigieError: PROBE_UNAVAILABLE.
        """
        ...


class IngestProber:
    """Asks ingest over gRPC (``vigie.ingest.v1.ProbeService``).

    Args:
        channel: gives the channel at each call: the own process's address is known only once it
            listens.
    """

    def __init__(self, channel: Callable[[], grpc.aio.Channel]) -> None:
        self._channel = channel

    async def probe(
        self, request: ProbeSourceRequest, *, timeout_seconds: float
    ) -> ProbeSourceResponse:
        """See `SourceProber.probe`."""
        try:
            answer: ProbeSourceResponse = await ProbeServiceStub(self._channel()).ProbeSource(
                request, timeout=timeout_seconds + _ALLOWANCE_SECONDS
            )
        except grpc.aio.AioRpcError as error:
            raise VigieError(
                PROBE_UNAVAILABLE, f"ingest answered {error.code().name}", status=error.code().name
            ) from error
        return answer


def probe_request(camera: str, stream_uri: str, timeout_seconds: float) -> ProbeSourceRequest:
    """The question to ingest; credentials and engine are added by the caller."""
    timeout = Duration()
    timeout.FromMicroseconds(round(timeout_seconds * _SECOND_US))
    return ProbeSourceRequest(camera=camera, stream_uri=stream_uri, timeout=timeout)


def probe_answer(found: ProbeSourceResponse) -> ProbeCameraResponse:
    """What ingest found, as the registry tells it."""
    answer = ProbeCameraResponse(
        reachable=found.reachable,
        codec=found.codec,
        width=found.width,
        height=found.height,
        frame_rate_millihertz=found.frame_rate_millihertz,
        bit_rate_bps=found.bit_rate_bps,
        has_audio=found.has_audio,
        server=found.server,
        detail=found.detail,
    )
    if found.HasField("key_frame_interval"):
        answer.key_frame_interval.CopyFrom(found.key_frame_interval)
    if found.has_camera_clock:
        answer.clock_offset.FromMicroseconds(found.camera_clock_offset_us)
    if not found.reachable:
        answer.cause = GapCause.Name(found.cause).removeprefix("GAP_CAUSE_")
    return answer
