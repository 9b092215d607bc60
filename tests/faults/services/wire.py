"""A way of one service alone to PostgreSQL: it can be cut, hung, slowed, and lose commits.

It stands between a service and the server and understands what a commit looks like:
then the transaction takes effect and nobody is told, or it does not and nobody is told either.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Final

_COMMIT: Final = b"COMMIT;\x00"
_QUERY: Final = b"Q"
_BLOCK: Final = 1 << 16


class Wire:
    """Takes connections on loopback and passes them on to the server.

    Attributes:
        address: where it listens, ``host:port``.
        delay_seconds: how long everything takes longer, each way.
        lose_commit: asked at each commit: ``None``: it is passed on; True: it takes effect and the
            answer is lost; False: it is lost itself.
        lost: how many commits came to each end: took effect, did not.
    """

    def __init__(self, host: str, port: int) -> None:
        self._upstream = (host, port)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._open: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._down = False
        self.delay_seconds = 0.0
        self.lose_commit: Callable[[], bool | None] = _never
        self.lost = {True: 0, False: 0}
        self._server = self._do(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        self.mend()

    def cut(self) -> None:
        """Close every connection, and whatever comes."""
        self._down = True
        self._do(self._hang_up())

    def hang(self) -> None:
        """Let nothing through; connections stay open."""
        self._loop.call_soon_threadsafe(self._passing.clear)

    def mend(self) -> None:
        """Let everything through again, undisturbed."""
        self._down, self.delay_seconds, self.lose_commit = False, 0.0, _never
        self._loop.call_soon_threadsafe(self._passing.set)

    def close(self) -> None:
        """Stop listening and end every connection."""
        self._down = True
        self._do(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # --- in its own thread ---

    def _do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    async def _end(self) -> None:
        self._server.close()
        self._passing.set()
        while self._open:
            await self._hang_up()
            await asyncio.sleep(0.01)

    async def _hang_up(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._down:
            writer.transport.abort()
            return
        try:
            their_reader, their_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, their_writer}
        self._open |= ends
        told = asyncio.Event()
        told.set()
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._ask(reader, their_writer, told))
                both.create_task(self._answer(their_reader, writer, told))
        except* (OSError, EOFError):
            pass  # an end has gone, and so does the other
        finally:
            self._open -= ends
            for each in ends:
                each.transport.abort()

    async def _ask(
        self, reader: asyncio.StreamReader, server: asyncio.StreamWriter, told: asyncio.Event
    ) -> None:
        while True:
            block = await self._next(reader)
            is_commit = block.startswith(_QUERY) and block.endswith(_COMMIT)
            takes_effect = self.lose_commit() if is_commit else None
            if takes_effect is not None:
                self.lost[takes_effect] += 1
            if takes_effect is False:
                raise EOFError
            if takes_effect:
                told.clear()
            server.write(block)
            await server.drain()

    async def _answer(
        self, server: asyncio.StreamReader, writer: asyncio.StreamWriter, told: asyncio.Event
    ) -> None:
        while True:
            block = await self._next(server)
            if not told.is_set():
                raise EOFError
            writer.write(block)
            await writer.drain()

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        block = await reader.read(_BLOCK)
        await self._passing.wait()
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if not block:
            raise EOFError
        return block


def _never() -> bool | None:
    return None
