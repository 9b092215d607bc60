"""What the acts share: the stage, the account, clocks, and small questions to the product."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from vigie.cli.language import tr
from vigie.common.v1 import types_pb2
from vigie.demo.account import Account
from vigie.demo.stage import Stage, StageError
from vigie.platform.clock import MonotonicClock, WallClock
from vigie.recording.v1 import recording_pb2, recording_pb2_grpc

T = TypeVar("T")
_POLL_SECONDS: Final = 0.25
PURPOSE: Final = types_pb2.Purpose(text="Démonstration", case_reference="DEMO-1")


@dataclass(slots=True)
class Scene:
    """One run of the demonstration."""

    stage: Stage
    account: Account
    wall: WallClock
    clock: MonotonicClock
    begun_us: int = 0
    estate_us: int = 0
    """When the last camera was commissioned."""
    listed_us: dict[str, int] = field(default_factory=dict)
    """Camera -> first instant of footage that was listed."""
    broken_us: tuple[int, int] = (0, 0)
    """When the broken camera was unreachable."""
    settled_us: int = 0
    """Up to when everything recorded is stored."""

    async def until(
        self, question: Callable[[], Awaitable[T | None]], what: str, *, seconds: float
    ) -> T:
        """Ask until there is an answer.

        Raises:
            StageError: none in time.
        """
        deadline = self.clock.now_us() + round(seconds * 1e6)
        while True:
            answer = await question()
            if answer is not None:
                return answer
            if self.clock.now_us() > deadline:
                raise StageError(f"{what}: {tr('not in time', 'pas à temps')} ({seconds:.0f} s)")
            await self.clock.sleep(_POLL_SECONDS)

    async def timeline(
        self, cameras: list[str], window: types_pb2.TimeWindow, person: str = "operateur-csu"
    ) -> dict[str, list[recording_pb2.TimelineEntry]]:
        """Entries of each camera, by identifier."""
        stub = self.stage.client(recording_pb2_grpc.RecordingServiceStub, person)
        answer = await stub.GetTimeline(
            recording_pb2.GetTimelineRequest(
                cameras=[f"cameras/{camera}" for camera in cameras], window=window
            )
        )
        return {
            timeline.camera.removeprefix("cameras/"): list(timeline.entries)
            for timeline in answer.timelines
        }

    async def stay(self) -> None:
        """Tell what to try, and wait for Ctrl-C."""
        stage, console = self.stage, self.account.console
        token = stage.token("operateur-csu")
        console.print()
        console.print(tr("[bold]It stays up until Ctrl-C.[/]", "[bold]Actif jusqu'à Ctrl-C.[/]"))
        console.print(f"  gRPC {stage.address}   http://{stage.http_address}/metrics", markup=False)
        for line in (
            f"export VIGIE_ADDRESS={stage.address}",
            f"export VIGIE_TOKEN={token}",
            "vigie timeline cam-brezet-quai --from -2m",
            'vigie clip cam-brezet-quai --from -60s --to -30s --purpose "essai" -o clip.mp4',
            'vigie live cam-brezet-quai --purpose "essai" -o - | ffplay -',
            f"grpcurl -plaintext {stage.address} list",
        ):
            console.print(f"  {line}", style="cyan", markup=False, soft_wrap=True)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            console.print(tr("Stopping …", "Arrêt …"))


def window(start_us: int, end_us: int) -> types_pb2.TimeWindow:
    """A window of two instants in microseconds since the Unix epoch."""
    made = types_pb2.TimeWindow()
    made.start_time.FromMicroseconds(start_us)
    made.end_time.FromMicroseconds(end_us)
    return made
