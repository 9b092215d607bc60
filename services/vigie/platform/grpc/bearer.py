"""Client interceptors that show a bearer token and give single answers a deadline."""

from typing import Any

import grpc.aio

from vigie.platform.identity.port import TokenSource


class FixedToken:
    """A token that stays the same."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self) -> str:
        """See `TokenSource.token`."""
        return self._token


class _Bearer:
    def __init__(self, source: TokenSource | None, default_timeout_seconds: float | None) -> None:
        self._source = source
        self._default_timeout_seconds = default_timeout_seconds

    async def _details(self, details: Any, *, streams: bool) -> Any:
        metadata = grpc.aio.Metadata(*(details.metadata or ()))
        if self._source is not None:
            metadata.add("authorization", f"Bearer {await self._source.token()}")
        timeout = details.timeout
        if timeout is None and not streams:
            timeout = self._default_timeout_seconds
        return grpc.aio.ClientCallDetails(
            details.method, timeout, metadata, details.credentials, details.wait_for_ready
        )


class _UnaryUnary(_Bearer, grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]  # not generic at run time
    async def intercept_unary_unary(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(await self._details(client_call_details, streams=False), request)


class _UnaryStream(_Bearer, grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[type-arg]  # not generic at run time
    async def intercept_unary_stream(
        self, continuation: Any, client_call_details: Any, request: Any
    ) -> Any:
        return await continuation(await self._details(client_call_details, streams=True), request)


class _StreamUnary(_Bearer, grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[type-arg]  # not generic at run time
    async def intercept_stream_unary(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        details = await self._details(client_call_details, streams=True)
        return await continuation(details, request_iterator)


class _StreamStream(_Bearer, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[type-arg]  # not generic at run time
    async def intercept_stream_stream(
        self, continuation: Any, client_call_details: Any, request_iterator: Any
    ) -> Any:
        details = await self._details(client_call_details, streams=True)
        return await continuation(details, request_iterator)


def bearer_interceptors(
    source: TokenSource | None, *, default_timeout_seconds: float | None = None
) -> list[Any]:
    """Interceptors for a channel: each call carries the token of ``source`` at that moment.

    Args:
        source: gives the token; ``None``: the certificate of the channel says who calls.
        default_timeout_seconds: deadline of calls with one answer that give none themselves.
    """
    return [
        kind(source, default_timeout_seconds)
        for kind in (_UnaryUnary, _UnaryStream, _StreamUnary, _StreamStream)
    ]
