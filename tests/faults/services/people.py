"""People who look at footage all the while: some watch live, one reads timelines."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

import grpc.aio

from e2e.callers import timelines, watch_live
from e2e.harness import Installation
from vigie.platform.grpc.client import ClientError

_LOOK_SECONDS: Final = 8
"""Who has not been answered for so long tries again, as a person would."""
_CHUNKS: Final = 50
_BREATH_SECONDS: Final = 0.2
_READING_SECONDS: Final = 1.0
_REFUSED: Final = (grpc.aio.AioRpcError, TimeoutError)


class People:
    """Viewers and readers of one installation.

    Attributes:
        seen: camera -> when it was last seen live (monotonic seconds).
        read: when the timelines were last read (monotonic seconds).
        refusals: what was refused meanwhile, by reason.
        wrong: answers that contradict themselves; must stay empty.
    """

    def __init__(self, vigie: Installation, cameras: Sequence[str]) -> None:
        self._vigie = vigie
        self._cameras = tuple(cameras)
        self._since_us = 0
        self._tasks: list[asyncio.Task[None]] = []
        self.seen: dict[str, float] = {}
        self.read = 0.0
        self.refusals: Counter[str] = Counter()
        self.wrong: list[str] = []

    def begin(self, since_us: int) -> None:
        self._since_us = since_us
        viewers = [asyncio.create_task(self._watch(camera)) for camera in self._cameras]
        self._tasks = [*viewers, asyncio.create_task(self._read())]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        ended = await asyncio.gather(*self._tasks, return_exceptions=True)
        for error in ended:
            if isinstance(error, Exception):
                raise error

    def content(self, since: float) -> bool:
        """Whether everything asked for has been answered since an instant (monotonic seconds)."""
        for task in self._tasks:
            if task.done():
                task.result()
        return self.read > since and all(self.seen.get(c, 0.0) > since for c in self._cameras)

    async def _watch(self, camera: str) -> None:
        while True:
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._look(camera)
            except _REFUSED as error:
                self._refused("live", error)
            await asyncio.sleep(_BREATH_SECONDS)

    async def _look(self, camera: str) -> None:
        count = 0
        async with aclosing(watch_live(self._vigie, camera)) as messages:
            async for message in messages:
                if message.WhichOneof("message") == "chunk":
                    self.seen[camera] = time.monotonic()
                    count += 1
                    if count == _CHUNKS:
                        return

    async def _read(self) -> None:
        while True:
            begun = time.monotonic()
            try:
                async with asyncio.timeout(_LOOK_SECONDS):
                    await timelines(self._vigie, self._cameras, self._since_us)
                self.read = begun
            except _REFUSED as error:
                self._refused("timeline", error)
            except AssertionError as error:
                self.wrong.append(f"a timeline contradicts itself: {error}")
            await asyncio.sleep(_READING_SECONDS)

    def _refused(self, what: str, error: Exception) -> None:
        reason = "nothing came"
        if isinstance(error, grpc.aio.AioRpcError):
            told = ClientError.of(error)
            reason = told.reason or told.code.name
        self.refusals[f"{what}: {reason}"] += 1
