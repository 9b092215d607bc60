"""The context a servicer sees: nothing can be sent past the access record."""

from collections.abc import AsyncIterator
from typing import Any, NoReturn

import grpc

from vigie.platform.grpc.failure import CallAbortedError
from vigie.platform.grpc.session import HostCall
from vigie.platform.grpc.validation import RequestValidator


class GuardedContext:
    """Stands between a servicer and gRPC's own context.

    What sends something asks `HostCall.require_admitted` first; ``abort`` becomes an exception,
    so that the host sees every end of a call. Everything else is passed on.
    """

    def __init__(self, context: Any, call: HostCall) -> None:
        self._context = context
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, message: Any) -> None:
        """Send one message of the answer.

        Raises:
            VigieError: NOT_ADMITTED; nothing was sent.
        """
        self._call.require_admitted()
        await self._context.write(message)
        self._call.sent(message.ByteSize())

    async def send_initial_metadata(self, metadata: Any) -> None:
        """Send the first metadata (errors as `write`)."""
        self._call.require_admitted()
        await self._context.send_initial_metadata(metadata)

    async def abort(
        self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()
    ) -> NoReturn:
        """End the call with a bare status."""
        del trailing_metadata  # the host writes the trailing metadata
        raise CallAbortedError(code, details)


async def checked_requests(
    requests: AsyncIterator[Any], validator: RequestValidator
) -> AsyncIterator[Any]:
    """The messages of a client stream, each checked before the servicer sees it."""
    async for request in requests:
        validator.check(request)
        yield request
