"""People who use the product during a soak: they watch, look back, cut clips, ask for evidence."""

import asyncio
import contextlib
import io
import random
import zipfile
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import grpc
import grpc.aio

from e2e.callers import PURPOSE, clip, play, segments, timelines, watch_live, window
from e2e.harness import WALL, Installation, until
from faults.soaking.churn import BUSY
from vigie.evidence.v1 import evidence_service_pb2, evidence_service_pb2_grpc
from vigie.ingest.v1 import streams_pb2, streams_pb2_grpc
from vigie.platform.grpc.client import ClientError
from vigie.recording.v1 import playback_pb2, playback_pb2_grpc

_SETTLED: Final = {
    evidence_service_pb2.EVIDENCE_STATE_READY,
    evidence_service_pb2.EVIDENCE_STATE_FAILED,
}
NOTHING_THERE: Final = frozenset(
    {"NO_FOOTAGE", "STREAM_NOT_FOUND", "CAMERA_NOT_FOUND", "EVIDENCE_CAMERA_UNKNOWN"}
)
"""What a person may be told who asks for footage of a camera that was just hung."""


class Audience:
    """People at work.

    Args:
        vigie: the product.
        cameras: those that hang now.
        chance: what they do is drawn from it.
        back_seconds: so far back they look: what is stored by then.
    """

    def __init__(
        self,
        vigie: Installation,
        cameras: Callable[[], Sequence[str]],
        chance: random.Random,
        *,
        back_seconds: float,
    ) -> None:
        self._back_us = round(back_seconds * 1e6)
        self._vigie = vigie
        self._cameras = cameras
        self._chance = chance
        self.done: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()

    @property
    def busy_share(self) -> float:
        """Share of what was tried and found the product too busy."""
        busy = sum(n for why, n in self.refused.items() if why.rpartition(": ")[2] in BUSY)
        return busy / max(1, self.done.total() - self.done["live messages"])

    async def go_on(self, viewers: int, until_set: asyncio.Event) -> None:
        """Work until told to stop: so many live viewers, and one person for each other thing.

        Raises:
            AssertionError, grpc.aio.AioRpcError: the product did not do what it should.
        """
        works: list[tuple[str, Callable[[], Awaitable[None]], float]] = [
            *[("live", self._watch, 0.2)] * viewers,
            ("live, not reading", self._watch_badly, 1.0),
            ("play", self._play, 0.5),
            ("play, gone in the middle", self._play_a_little, 1.0),
            ("timeline", self._look, 0.5),
            ("clip", self._clip, 2.0),
            ("still", self._still, 2.0),
            ("streams", self._follow, 1.0),
            ("evidence", self._evidence, 3.0),
        ]
        async with asyncio.TaskGroup() as group:
            for name, work, pause in works:
                group.create_task(self._keep_on(name, work, pause, until_set))

    async def _keep_on(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        pause: float,
        until_set: asyncio.Event,
    ) -> None:
        while not until_set.is_set():
            try:
                await work()
                self.done[name] += 1
            except grpc.aio.AioRpcError as error:
                reason = ClientError.of(error).reason or error.code().name
                if reason not in NOTHING_THERE | BUSY:
                    raise
                self.refused[f"{name}: {reason}"] += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(until_set.wait(), pause * self._chance.uniform(0.5, 1.5))

    def _camera(self) -> str:
        return self._chance.choice(self._cameras())

    def _past(self, seconds: float) -> tuple[int, int]:
        end_us = WALL.now_us() - self._back_us
        return end_us - round(seconds * 1e6), end_us

    async def _watch(self) -> None:
        seconds = self._chance.uniform(1, 15)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                async for _ in watch_live(self._vigie, self._camera()):
                    self.done["live messages"] += 1

    async def _watch_badly(self) -> None:
        """Does not take what comes: the product must leave frames out, not keep them."""
        stream = watch_live(self._vigie, self._camera())
        with contextlib.suppress(TimeoutError, StopAsyncIteration):
            async with asyncio.timeout(10):
                for _ in range(3):
                    await anext(stream)
                    await asyncio.sleep(2)
        await stream.aclose()

    async def _play(self) -> None:
        start_us, end_us = self._past(15)
        played = await play(self._vigie, self._camera(), start_us, end_us)
        assert played.end is not None
        self.done["fragments played"] += len(played.fragments)

    async def _play_a_little(self) -> None:
        stub = self._vigie.stub(
            playback_pb2_grpc.PlaybackServiceStub, "recording", person="operateur"
        )
        request = playback_pb2.PlayRequest(camera=f"cameras/{self._camera()}", purpose=PURPOSE)
        request.start_time.FromMicroseconds(self._past(60)[0])
        call = stub.Play(request)
        async for _ in call:
            if self._chance.random() < 0.3:
                break
        call.cancel()

    async def _look(self) -> None:
        start_us, end_us = self._past(60)
        count = min(20, len(self._cameras()))
        chosen = self._chance.sample(list(self._cameras()), count)
        found = await timelines(self._vigie, chosen, start_us, end_us)
        assert set(found) == set(chosen)
        await segments(self._vigie, chosen[0], start_us, end_us)

    async def _clip(self) -> None:
        start_us, end_us = self._past(8)
        files = await clip(self._vigie, self._camera(), start_us, end_us)
        self.done["clip files"] += len(files)

    async def _still(self) -> None:
        stub = self._vigie.stub(
            playback_pb2_grpc.PlaybackServiceStub, "recording", person="operateur"
        )
        request = playback_pb2.GetSnapshotRequest(
            camera=f"cameras/{self._camera()}", purpose=PURPOSE
        )
        request.time.FromMicroseconds(self._past(0)[1])
        answer = await stub.GetSnapshot(request)
        assert answer.image.startswith(b"\xff\xd8")

    async def _follow(self) -> None:
        stub = self._vigie.stub(streams_pb2_grpc.StreamServiceStub, "ingest", person="operateur")
        call = stub.WatchStreams(streams_pb2.WatchStreamsRequest(include_heartbeats=True))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._chance.uniform(2, 10)):
                async for _ in call:
                    pass
        call.cancel()

    async def _evidence(self) -> None:
        pb, make = evidence_service_pb2, evidence_service_pb2_grpc.EvidenceServiceStub
        start_us, end_us = self._past(20)
        cameras = self._chance.sample(list(self._cameras()), min(3, len(self._cameras())))
        asking = self._vigie.stub(make, "evidence", person="enqueteur")
        request = await asking.CreateEvidenceRequest(
            pb.CreateEvidenceRequestRequest(
                cameras=[f"cameras/{camera}" for camera in cameras],
                window=window(start_us, end_us),
                purpose="Essai de longue durée",
                case_reference="ESSAI-2",
                legal_basis="Article 77-1-1 du code de procédure pénale",
            )
        )
        deciding = self._vigie.stub(make, "evidence", person="responsable")
        await deciding.ApproveEvidenceRequest(
            pb.ApproveEvidenceRequestRequest(
                name=request.name, reason="vérifiée", etag=request.etag
            )
        )

        async def settled() -> evidence_service_pb2.EvidenceRequest | None:
            found = await asking.GetEvidenceRequest(pb.GetEvidenceRequestRequest(name=request.name))
            return found if found.state in _SETTLED else None

        ready = await until(settled, "the package is ready", seconds=120)
        if ready.state != pb.EVIDENCE_STATE_READY:
            self.refused[f"evidence: {ready.failure}"] += 1
            return
        received = bytearray()
        async for part in asking.DownloadPackage(pb.DownloadPackageRequest(name=ready.name)):
            received += part.data
        assert len(received) == ready.package.size_bytes
        with zipfile.ZipFile(io.BytesIO(received)) as archive:
            assert archive.testzip() is None
        self.done["packages"] += 1
