"""Exit codes: documented, stable, one for each kind of failure a script may want to tell apart."""

from enum import IntEnum
from typing import Final

import grpc


class Exit(IntEnum):
    """What the shell sees."""

    OK = 0
    FAILED = 1
    """The product failed, or something this list does not name."""
    USAGE = 2
    """The command line is wrong (also: what it names does not parse)."""
    REFUSED = 3
    """Not authenticated, or not permitted."""
    NOT_FOUND = 4
    """What was named does not exist."""
    CONFLICT = 5
    """The state does not allow it (stale etag, wrong state, exists already)."""
    UNAVAILABLE = 6
    """The service cannot be reached, or cannot do it now; try again later."""
    CHECK_FAILED = 7
    """A check found something: fsck, evidence verify, config check, demo."""
    FORCED = 8
    """`vigie up`: told twice to stop, and stopped at once."""
    UNFINISHED = 9
    """`vigie up`: what was begun could not be finished in `lifecycle.drain_seconds`."""
    MISCONFIGURED = 10
    """`vigie serve`: what it stands on is not as it has to be (credentials, version, topics,
    bucket); starting it again does not help."""


_BY_CODE: Final = {
    grpc.StatusCode.INVALID_ARGUMENT: Exit.USAGE,
    grpc.StatusCode.OUT_OF_RANGE: Exit.USAGE,
    grpc.StatusCode.UNAUTHENTICATED: Exit.REFUSED,
    grpc.StatusCode.PERMISSION_DENIED: Exit.REFUSED,
    grpc.StatusCode.NOT_FOUND: Exit.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: Exit.CONFLICT,
    grpc.StatusCode.ABORTED: Exit.CONFLICT,
    grpc.StatusCode.FAILED_PRECONDITION: Exit.CONFLICT,
    grpc.StatusCode.UNAVAILABLE: Exit.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: Exit.UNAVAILABLE,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exit.UNAVAILABLE,
}


def exit_of(code: grpc.StatusCode) -> Exit:
    """The exit code that tells a gRPC status."""
    return _BY_CODE.get(code, Exit.FAILED)
