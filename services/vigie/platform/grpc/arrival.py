"""The one request of a call, which comes when its caller sends it.

gRPC would wait for it without end, before any code of ours runs; methods with one request are
therefore served as if they took a stream of them, and the request is read here.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import grpc.aio
from google.protobuf.message import DecodeError

from vigie.platform.errors import VigieError
from vigie.platform.grpc.failure import FieldViolation, RequestInvalidError
from vigie.platform.reasons import DEADLINE_EXCEEDED, REQUEST_INVALID

_END: Final[Any] = grpc.aio.EOF  # type: ignore[attr-defined]  # its stubs do not know it


class Arrival:
    """A request that is read once, when it is asked for, under a limit of time.

    Args:
        context: gRPC's, of a call whose handler takes a stream of bytes.
        deserialise: bytes -> message.
        seconds: longest time that it is waited for.
    """

    def __init__(
        self, context: Any, deserialise: Callable[[bytes], Any], *, seconds: float
    ) -> None:
        self._context = context
        self._deserialise = deserialise
        self._seconds = seconds
        self._outcome: Any = None

    async def request(self) -> Any:
        """The message.

        Raises:
            VigieError: DEADLINE_EXCEEDED: it has not come. REQUEST_INVALID: the call has none, or
                one that cannot be read.
        """
        if self._outcome is None:
            try:
                self._outcome = await self._read()
            except VigieError as error:
                self._outcome = error
        if isinstance(self._outcome, VigieError):
            raise self._outcome
        return self._outcome

    async def _read(self) -> Any:
        try:
            async with asyncio.timeout(self._seconds):
                content = await self._context.read()
        except TimeoutError as error:
            late = f"the request has not come within {self._seconds:g} s"
            raise VigieError(DEADLINE_EXCEEDED, late) from error
        if content is _END:
            raise _invalid("is missing")
        try:
            return self._deserialise(content)
        except DecodeError as error:
            raise _invalid("cannot be read as what its contract says") from error


def _invalid(description: str) -> RequestInvalidError:
    return RequestInvalidError(REQUEST_INVALID, [FieldViolation("request", description)])
