"""People who also take footage with them: they play, save clips, fetch packages, all the while."""

import asyncio
import random
import time
from typing import Final

import grpc.aio

from e2e.callers import clip, play
from e2e.harness import WALL
from faults.services.people import People
from vigie.evidence.v1 import evidence_service_pb2 as evidence_pb
from vigie.evidence.v1.evidence_service_pb2_grpc import EvidenceServiceStub

_LONGEST_US: Final = 3_000_000
_YOUNG_US: Final = 5_000_000
_TAKE_SECONDS: Final = 60
_BREATH_SECONDS: Final = 1.5


class Takers(People):
    """See `People`.

    Attributes:
        requests: for evidence, whose packages they fetch.
        taken: when everything was last got that was asked for (monotonic seconds).
    """

    def __init__(self, *arguments: object, chance: random.Random) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._chance = chance
        self.requests: list[evidence_pb.EvidenceRequest] = []
        self.taken = 0.0

    def begin(self, since_us: int) -> None:
        super().begin(since_us)
        self._tasks.append(asyncio.create_task(self._take()))

    def content(self, since: float) -> bool:
        return super().content(since) and self.taken > since

    async def _take(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(_TAKE_SECONDS):
                    await self._chance.choice((self._play, self._clip, self._fetch))()
                self.taken = begun
            except (grpc.aio.AioRpcError, TimeoutError) as error:
                self._refused("taking", error)
            await asyncio.sleep(_BREATH_SECONDS)

    def _wanted(self) -> tuple[str, int, int]:
        """A camera and a moment of the past."""
        camera = self._chance.choice(self._cameras)
        last_us = max(self._since_us, WALL.now_us() - _YOUNG_US)
        start_us = self._chance.randint(self._since_us, last_us)
        return camera, start_us, start_us + self._chance.randint(1_000_000, _LONGEST_US)

    async def _play(self) -> None:
        await play(self._vigie, *self._wanted())

    async def _clip(self) -> None:
        await clip(self._vigie, *self._wanted())

    async def _fetch(self) -> None:
        """A package that is ready, if one is; what is fetched is what it says."""
        stub = self._vigie.stub(EvidenceServiceStub, "evidence", person="enqueteur")
        for asked in self._chance.sample(self.requests, len(self.requests)):
            found = await stub.GetEvidenceRequest(
                evidence_pb.GetEvidenceRequestRequest(name=asked.name)
            )
            if found.state != evidence_pb.EVIDENCE_STATE_READY:
                continue
            size = 0
            request = evidence_pb.DownloadPackageRequest(name=asked.name)
            async for message in stub.DownloadPackage(request):
                size += len(message.data)
            if size != found.package.size_bytes:
                self.wrong.append(f"{asked.name}: {size} bytes of {found.package.size_bytes}")
            return
