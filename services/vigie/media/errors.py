"""What can be wrong with bytes: typed, with a stable reason that callers may branch on."""

from enum import StrEnum
from typing import Final


class MediaReason(StrEnum):
    """Stable reasons; the value appears in messages and metric labels."""

    TRUNCATED = "TRUNCATED"
    MALFORMED = "MALFORMED"
    UNSUPPORTED = "UNSUPPORTED"
    TOO_LARGE = "TOO_LARGE"
    PARAMETER_SETS_MISSING = "PARAMETER_SETS_MISSING"
    EMPTY_WINDOW = "EMPTY_WINDOW"


class MediaError(Exception):
    """Any failure of this package. ``reason`` is stable, the message is for people."""

    def __init__(self, reason: MediaReason, message: str) -> None:
        super().__init__(f"{reason.value}: {message}")
        self.reason: Final = reason
        self.message: Final = message


class MalformedMedia(MediaError):  # noqa: N818 - reads as what it is: malformed media
    """Bytes that break the format: where (``path`` of boxes or fields, byte ``offset``) and why."""

    def __init__(
        self, message: str, offset: int, path: str, reason: MediaReason = MediaReason.MALFORMED
    ) -> None:
        super().__init__(reason, f"{path} at byte {offset}: {message}")
        self.offset: Final = offset
        self.path: Final = path


class UnsupportedMedia(MediaError):  # noqa: N818 - reads as what it is: unsupported media
    """Well-formed, but of a kind this package does not handle; the message names it."""

    def __init__(self, message: str) -> None:
        super().__init__(MediaReason.UNSUPPORTED, message)
