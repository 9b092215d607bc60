"""The way of a camera's media from the engine's thread into its writer thread."""

from functools import partial

from prometheus_client import Counter

from vigie.ingest.engine import CodecParameters, FrameGroup, SenderReport
from vigie.ingest.recorder.camera import CameraRecorder
from vigie.ingest.recorder.pool import WriterPool


class CameraIntake:
    """Called from the engine's thread; never waits.

    What a camera can make us queue without media is bounded: parameters go with the group they
    belong to, and a loss is told only after a group.

    Args:
        pool: the writer threads.
        recorder: of this camera.
        camera: camera identifier.
        refused: counter of refused groups, by reason.
    """

    def __init__(
        self, pool: WriterPool, recorder: CameraRecorder, camera: str, refused: Counter
    ) -> None:
        self._recorder = recorder
        self._inbox = pool.inbox(camera, recorder.refused)
        self._refused = refused
        self._since_group = True

    def group(self, parameters: CodecParameters, group: FrameGroup) -> bool:
        """Hand over one key-frame interval; false when there was no room for it."""
        work = partial(self._recorder.group, parameters, group)
        if self._inbox.media(work, group.size_bytes):
            self._since_group = False
            return True
        self._refused.labels(reason="QUEUE_FULL").inc()
        return False

    def configure(self, segment_seconds: int) -> None:
        """Cut segments of another length from the next run on."""
        self._inbox.control(partial(self._recorder.configure, segment_seconds))

    def lost(self, cause: str, detail: str, at_us: int) -> None:
        """Continuity is broken."""
        if not self._since_group:
            self._since_group = True
            self._inbox.control(partial(self._recorder.lost, cause, detail, at_us))

    def sender_report(self, report: SenderReport) -> None:
        """The camera told its clock; the newest is enough."""
        self._recorder.note_sender_report(report)

    def ended(self, cause: str, detail: str, at_us: int) -> None:
        """The session is over."""
        self._since_group = True
        self._inbox.control(partial(self._recorder.ended, cause, detail, at_us))
