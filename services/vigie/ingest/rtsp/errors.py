"""What can go wrong in a conversation with a camera; texts never hold a secret."""

from vigie.ingest.engine import EndCause


class RtspError(Exception):
    """The conversation cannot go on.

    Attributes:
        cause: what the gap on the timeline will be called.
        detail: one line for the operator, free of credentials.
    """

    def __init__(self, cause: EndCause, detail: str) -> None:
        super().__init__(f"{cause.value}: {detail}")
        self.cause = cause
        self.detail = detail


class MalformedMessageError(RtspError):
    """Bytes that are no RTSP message, or one beyond the limits."""

    def __init__(self, detail: str) -> None:
        super().__init__(EndCause.STREAM_UNSUPPORTED, detail)


class UnsupportedDescriptionError(RtspError):
    """A session description that cannot be read, or offers nothing that can be recorded."""

    def __init__(self, detail: str) -> None:
        super().__init__(EndCause.STREAM_UNSUPPORTED, detail)
