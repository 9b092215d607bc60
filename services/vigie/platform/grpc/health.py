"""The health of services (grpc.health.v1), told to anybody.

The servicer of grpcio-health-checking writes to its watchers under a lock that a change of health
needs too: a watcher that reads nothing would hold up every change, and the stop of the process.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

Status = health_pb2.HealthCheckResponse
SERVICE = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
WATCH_PATH = f"/{SERVICE}/Watch"


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # its package has no types
    """Keeps the health of each service; the empty name stands for the whole process."""

    def __init__(self) -> None:
        self._statuses: dict[str, int] = {}
        self._changed = asyncio.Event()
        self._stopping = False

    def set(self, service: str, *, serving: bool) -> None:
        """Say whether a service serves; changes nothing once the process stops."""
        if not self._stopping:
            self._set(service, Status.SERVING if serving else Status.NOT_SERVING)

    def stop(self) -> None:
        """No service serves any more; who watches is told, and his call ends."""
        self._stopping = True
        for service in self._statuses:
            self._set(service, Status.NOT_SERVING)
        self._tell()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:
        """See the contract of gRPC."""
        status = self._statuses.get(request.service)
        if status is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "the service is not known")
        return Status(status=status)

    async def Watch(
        self, request: health_pb2.HealthCheckRequest, context: Any
    ) -> AsyncGenerator[Any, None]:
        """See the contract of gRPC: the health now, and each change of it."""
        del context
        told = None
        while True:
            changed, stopping = self._changed, self._stopping
            status = self._statuses.get(request.service, Status.SERVICE_UNKNOWN)
            if status != told:
                yield Status(status=status)
                told = status
            if stopping:
                return
            await changed.wait()

    def _set(self, service: str, status: int) -> None:
        if self._statuses.get(service) != status:
            self._statuses[service] = status
            self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
