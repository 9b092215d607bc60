"""Which cameras are this process's own changes while it runs, and while it stops."""

from collections.abc import Callable
from pathlib import Path

from ingest_module_support import CAMERA, Ingest, camera_state, settled
from ingest_support import eventually
from vigie.ingest.v1 import events_pb2


async def test_a_camera_taken_away_from_this_process_is_left_in_silence(tmp_path: Path) -> None:
    ingest = Ingest(tmp_path)
    assignment = Assignment()
    await ingest.open(assignment=assignment)
    await ingest.module.start()
    await ingest.publish(camera_state())
    await ingest.publish(camera_state(camera="cam-stays-01"))
    await eventually(lambda: len(ingest.engine.current) == 2)

    assignment.give_away(CAMERA)
    await eventually(lambda: len(ingest.engine.current) == 1)
    assert ingest.engine.current[0].source.camera == "cam-stays-01"
    await settled(ingest)
    statuses = [s async for s in ingest.log.read("stream-status")]
    last = [s.event for s in statuses if s.event.key == CAMERA][-1]
    told = events_pb2.StreamStatusEvent.FromString(last.value or b"")
    assert told.state != events_pb2.STREAM_STATE_STOPPED

    assignment.take_back(CAMERA)
    await eventually(lambda: len(ingest.engine.current) == 2)
    await ingest.close()


async def test_a_camera_gained_while_the_process_stops_is_not_taken_over(tmp_path: Path) -> None:
    """Nobody would tell its keeper to leave, and the engines no longer receive."""
    ingest = Ingest(tmp_path)
    assignment = GainsInLeaving()
    await ingest.open(assignment=assignment)
    await ingest.module.start()
    assignment.give_away(CAMERA)
    await ingest.publish(camera_state())
    await ingest.publish(camera_state(camera="cam-stays-01"))
    await eventually(lambda: len(ingest.engine.current) == 1)

    await ingest.module.stop(timeout_seconds=10)

    assert assignment.is_mine(CAMERA)
    assert ingest.module.reception.keeper(CAMERA) is None
    assert [session.source.camera for session in ingest.engine.sessions] == ["cam-stays-01"]
    assert not ingest.engine.current
    await ingest.close()


class Assignment:
    """A consumer group that a test plays."""

    def __init__(self) -> None:
        self.others: set[str] = set()
        self.listeners: list[Callable[[], None]] = []

    async def join(self) -> None:
        pass

    async def leave(self) -> None:
        pass

    def not_ready(self) -> str | None:
        return None

    def is_mine(self, camera: str) -> bool:
        return camera not in self.others

    def on_change(self, listener: Callable[[], None]) -> None:
        self.listeners.append(listener)

    def give_away(self, camera: str) -> None:
        self.others.add(camera)
        for listener in self.listeners:
            listener()

    def take_back(self, camera: str) -> None:
        self.others.discard(camera)
        for listener in self.listeners:
            listener()


class GainsInLeaving(Assignment):
    """The group gives this process a camera just before it hears that it leaves."""

    async def leave(self) -> None:
        self.take_back(CAMERA)
