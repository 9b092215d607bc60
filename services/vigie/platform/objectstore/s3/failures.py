"""What went wrong in a request, in the words of the store port, decided once."""

import ssl
from dataclasses import dataclass
from typing import Final

import urllib3.exceptions as http
from minio.error import InvalidResponseError, S3Error, ServerError

from vigie.platform.errors import ReasonSpec, VigieError
from vigie.platform.objectstore.s3.client import DeadlineError
from vigie.platform.reasons import (
    STORE_BUCKET_MISSING,
    STORE_CLOCK_SKEWED,
    STORE_REFUSED,
    STORE_UNAVAILABLE,
)

NO_ANSWER: Final = "NO_ANSWER"
MISSING: Final = frozenset({"NoSuchKey", "NoSuchVersion", "NoSuchUpload"})
REFUSED: Final = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"})
LOCKED: Final = frozenset({"AccessDenied", "InvalidRequest", "ObjectLocked", "MethodNotAllowed"})
"""What stores answer to the deletion of a locked version."""
ALTERED: Final = frozenset(
    {
        "BadDigest",
        "InvalidDigest",
        "XAmzContentSHA256Mismatch",
        "XAmzContentChecksumMismatch",
        "XAmzContentSha256Mismatch",
    }
)
"""What stores answer when the content does not have the digest that was given."""
_TRY_AGAIN: Final = frozenset(
    {
        "SlowDown",
        "SlowDownRead",
        "SlowDownWrite",
        "InternalError",
        "ServiceUnavailable",
        "RequestTimeout",
        "OperationAborted",
        "ConditionalRequestConflict",
        "IncompleteBody",
    }
)
_TRY_AGAIN_STATUS: Final = frozenset({408, 409, 429, 500, 502, 503, 504})
_STATUS_CODES: Final = {403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed"}
_KNOWN: Final = (
    MISSING
    | REFUSED
    | LOCKED
    | ALTERED
    | _TRY_AGAIN
    | {
        "NoSuchBucket",
        "PreconditionFailed",
        "RequestTimeTooSkewed",
        "InvalidRange",
        "InvalidArgument",
        "MalformedXML",
        "NotImplemented",
        NO_ANSWER,
    }
)
_MESSAGE: Final = 200


class StoreFailure(VigieError):  # noqa: N818 - a failure of the port like others, told apart inside
    """A request that failed.

    Attributes:
        code: the store's error code, or `NO_ANSWER`.
        status: HTTP status; ``None``: no answer came.
        passing: trying again may help.
        response_date: the ``Date`` header of the answer, or "".
    """

    def __init__(
        self, reason: ReasonSpec, message: str, *, code: str, status: int | None, passing: bool
    ) -> None:
        super().__init__(reason, message, code=code)
        self.code = code
        self.status = status
        self.passing = passing
        self.response_date = ""

    @property
    def label(self) -> str:
        """The code as a metric label: bounded."""
        return self.code if self.code in _KNOWN else "OTHER"

    @property
    def is_missing(self) -> bool:
        """What was asked for is not there (or its bucket: a HEAD does not say)."""
        return self.code in MISSING

    @property
    def exists(self) -> bool:
        """A conditional write found something there."""
        return self.status == 412  # noqa: PLR2004 - HTTP Precondition Failed


@dataclass(frozen=True, slots=True)
class _Answer:
    code: str
    status: int
    message: str
    date: str = ""


def failure_of(error: Exception, doing: str, place: str) -> StoreFailure | None:
    """The failure behind an exception of the client library; ``None``: it is not the store's.

    Args:
        error: what was raised.
        doing: the operation, for people.
        place: the store, for people.
    """
    answer = _answer_of(error)
    if answer is None:
        return _unanswered(error, doing, place)
    failure = StoreFailure(
        _reason_of(answer.code),
        f"cannot {doing} at {place}: {answer.code}: {answer.message[:_MESSAGE]}",
        code=answer.code,
        status=answer.status,
        passing=answer.code in _TRY_AGAIN
        or (answer.status in _TRY_AGAIN_STATUS and answer.code not in _KNOWN),
    )
    failure.response_date = answer.date
    return failure


def _answer_of(error: Exception) -> _Answer | None:
    if isinstance(error, S3Error):
        status = int(error.response.status)
        date = str(error.response.headers.get("date", ""))
        code = error.code or _STATUS_CODES.get(status, f"HTTP{status}")
        return _Answer(code, status, error.message or "", date)
    if isinstance(error, ServerError):
        status = error.status_code
        return _Answer(_STATUS_CODES.get(status, f"HTTP{status}"), status, str(error))
    if isinstance(error, InvalidResponseError):
        # Not the store speaks, but something before it: a proxy, a load balancer.
        status = error._code  # noqa: SLF001 - the library tells it nowhere else
        return _Answer(_STATUS_CODES.get(status, f"HTTP{status}"), status, "not an answer of S3")
    return None


def _unanswered(error: Exception, doing: str, place: str) -> StoreFailure | None:
    why = _why(error)
    if why is None:
        return None
    return StoreFailure(
        STORE_UNAVAILABLE,
        f"cannot {doing} at {place}: {why}",
        code=NO_ANSWER,
        status=None,
        passing=not isinstance(error, http.SSLError),
    )


_WHY: Final[tuple[tuple[tuple[type[Exception], ...], str], ...]] = (
    ((DeadlineError,), "too slow: {error}"),
    ((http.SSLError, ssl.SSLError), "its certificate is not accepted ({inner})"),
    ((http.NameResolutionError,), "its name cannot be resolved"),
    ((http.NewConnectionError,), "no connection ({inner})"),
    ((http.ConnectTimeoutError,), "no connection in time"),
    ((http.ReadTimeoutError, TimeoutError), "no answer in time"),
    ((http.HTTPError, ConnectionError), "the connection broke ({inner})"),
)
"""The first that fits: later ones are more general."""


def _why(error: Exception) -> str | None:
    """What happened on the way, in a few words without addresses of memory; ``None``: nothing."""
    for kinds, words in _WHY:
        if isinstance(error, kinds):
            return words.format(error=error, inner=_innermost(error))
    return None


def _innermost(error: BaseException) -> str:
    """The error that the machine gave: libraries wrap it several times."""
    while True:
        inner = error.__cause__ or error.__context__
        if inner is None and error.args and isinstance(error.args[-1], BaseException):
            inner = error.args[-1]
        if inner is None:
            break
        error = inner
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error)[:_MESSAGE] or type(error).__name__


def _reason_of(code: str) -> ReasonSpec:
    if code in REFUSED:
        return STORE_REFUSED
    if code == "RequestTimeTooSkewed":
        return STORE_CLOCK_SKEWED
    if code == "NoSuchBucket":
        return STORE_BUCKET_MISSING
    return STORE_UNAVAILABLE
