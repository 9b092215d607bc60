"""Which instance shows a camera live: that which receives it."""

from collections.abc import Mapping
from typing import Any, Protocol

from vigie.ingest.live.channel import LiveHub
from vigie.ingest.supervisor.cameras import CameraAssignment
from vigie.ingest.v1.events_pb2 import StreamStatusEvent


class Statuses(Protocol):
    """The newest status of every camera (`CompactedTable`)."""

    @property
    def items(self) -> Mapping[str, StreamStatusEvent]:
        """Camera -> its newest status."""
        ...


class LiveOwners:
    """Tells where a camera is shown, and sends viewers there who wait here.

    Args:
        instance: this process.
        statuses: who says what of each camera, and where that is.
        assignment: which cameras are this process's own.
        hub: the viewers of this process.
    """

    def __init__(
        self, instance: str, statuses: Statuses, assignment: CameraAssignment, hub: LiveHub
    ) -> None:
        self._instance = instance
        self._statuses = statuses
        self._assignment = assignment
        self._hub = hub

    def owner_of(self, request: Any) -> str | None:
        """Address of the instance that alone can show what is asked for; ``None``: this one.

        Args:
            request: with a field ``camera``, a resource name.
        """
        camera = str(request.camera).removeprefix("cameras/")
        status = self._statuses.items.get(camera)
        if status is None or not self._another(camera, status):
            return None
        return status.address

    def status_changed(
        self, camera: str, before: StreamStatusEvent | None, now: StreamStatusEvent | None
    ) -> None:
        """Send viewers to the instance that receives a camera now; a `Listener` of the table."""
        del before
        if now is not None and self._another(camera, now):
            self._hub.dismiss(camera, now.instance)

    def _another(self, camera: str, status: StreamStatusEvent) -> bool:
        if not status.address or status.instance == self._instance:
            return False
        return not self._assignment.is_mine(camera)
