"""A sink that remembers, for tests of engines."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from vigie.ingest.engine import (
    CodecParameters,
    ConnectionInfo,
    EndCause,
    FrameGroup,
    LiveFrames,
    SenderReport,
)


@dataclass
class RecordingSink:
    """Keeps what it is given, in order; `wait_for` waits for a condition, not for time."""

    wants_frames: bool = False
    calls: list[tuple[str, object]] = field(default_factory=list)
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def _note(self, name: str, value: object) -> None:
        with self._changed:
            self.calls.append((name, value))
            self._changed.notify_all()

    def connected(self, info: ConnectionInfo) -> None:
        self._note("connected", info)

    def parameters(self, parameters: CodecParameters) -> None:
        self._note("parameters", parameters)

    def frames(self, frames: LiveFrames) -> None:
        self._note("frames", frames)

    def group(self, group: FrameGroup) -> None:
        self._note("group", group)

    def lost(self, cause: EndCause, detail: str, at_us: int) -> None:
        self._note("lost", (cause, detail))

    def sender_report(self, report: SenderReport) -> None:
        self._note("sender_report", report)

    def received(self, frames: int, size_bytes: int, at_us: int) -> None:
        self._note("received", (frames, size_bytes))

    def ended(self, cause: EndCause, detail: str) -> None:
        self._note("ended", (cause, detail))

    def wait_for(
        self, condition: Callable[["RecordingSink"], bool], timeout_seconds: float = 60
    ) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: condition(self), timeout_seconds), self.names

    def all(self, name: str) -> list[object]:
        return [value for found, value in self.calls if found == name]

    @property
    def names(self) -> list[str]:
        """What happened, without the counters."""
        return [name for name, _ in self.calls if name != "received"]

    @property
    def groups(self) -> list[FrameGroup]:
        return [value for value in self.all("group") if isinstance(value, FrameGroup)]

    @property
    def live(self) -> list[LiveFrames]:
        return [value for value in self.all("frames") if isinstance(value, LiveFrames)]

    @property
    def end(self) -> tuple[EndCause, str] | None:
        found = self.all("ended")
        assert len(found) <= 1, "ended must be called once"
        return found[0] if found else None  # type: ignore[return-value]  # noted as such above

    @property
    def losses(self) -> list[tuple[EndCause, str]]:
        return self.all("lost")  # type: ignore[return-value]  # noted as such above
