"""From exceptions to answers: one place where a failure becomes a status with its details."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import grpc
import grpc.aio
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from vigie.platform.errors import ERROR_DOMAIN, ReasonSpec, VigieError
from vigie.platform.reasons import DEADLINE_EXCEEDED, INTERNAL_ERROR, SERVICE_UNREACHABLE

STATUS_DETAILS_KEY = "grpc-status-details-bin"
# Trailing metadata is limited to 8 KiB by default; details beyond these would be lost with it.
_AWAY = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
_MAX_MESSAGE_CHARACTERS = 500
_MAX_METADATA_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of a request and what is wrong with it."""

    field: str
    description: str


class RequestInvalidError(VigieError):
    """A request breaks rules of its contract; names every field at fault."""

    def __init__(self, reason: ReasonSpec, violations: Sequence[FieldViolation]) -> None:
        first = violations[0]
        super().__init__(reason, f"{first.field}: {first.description}", field=first.field)
        self.violations = tuple(violations)


class CallAbortedError(Exception):
    """A servicer ended its call with a bare status (``context.abort``)."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class Failure:
    """How a call ends that did not succeed.

    Attributes:
        code: status code.
        reason: stable reason; bounded in number, so fit for a metric label.
        message: one line for a developer, in English.
        spec: entry of the catalogue, when there is one.
        violations: fields at fault.
        metadata: further facts for machines.
        unexpected: the failure is a fault of the program: it is logged with its trace.
    """

    code: grpc.StatusCode
    reason: str
    message: str
    spec: ReasonSpec | None = None
    violations: tuple[FieldViolation, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    unexpected: bool = False


def failure_of(error: BaseException) -> Failure:
    """The failure that ``error`` is reported as.

    What is unexpected tells the caller nothing but that it happened.
    """
    if isinstance(error, VigieError):
        return _domain_failure(error)
    if isinstance(error, CallAbortedError):
        return Failure(error.code, error.code.name, error.details)
    if isinstance(error, TimeoutError):
        return Failure(
            DEADLINE_EXCEEDED.code,
            DEADLINE_EXCEEDED.name,
            "the call took longer than it was given",
            DEADLINE_EXCEEDED,
        )
    if isinstance(error, grpc.aio.AioRpcError) and error.code() in _AWAY:
        # Whatever that one said is not for this caller; that it is away, is.
        return _domain_failure(VigieError(SERVICE_UNREACHABLE, "another service does not answer"))
    return Failure(
        INTERNAL_ERROR.code,
        INTERNAL_ERROR.name,
        "unexpected failure; its trace is in the log under the request identifier",
        INTERNAL_ERROR,
        unexpected=True,
    )


def _domain_failure(error: VigieError) -> Failure:
    violations: tuple[FieldViolation, ...] = ()
    if isinstance(error, RequestInvalidError):
        violations = error.violations
    elif error.field:
        violations = (FieldViolation(error.field, error.message),)
    return Failure(
        error.reason.code,
        error.reason.name,
        error.message,
        error.reason,
        violations,
        dict(error.metadata),
        unexpected=error.reason.code is grpc.StatusCode.INTERNAL,
    )


def prefers_french(accept_language: str) -> bool:
    """Whether ``accept-language`` (RFC 9110, section 12.5.4) ranks French before English."""
    best = {"fr": 0.0, "en": 0.0}
    for part in accept_language.lower().split(","):
        tag, _, parameters = part.strip().partition(";")
        language = tag.split("-")[0].strip()
        if language not in best:
            continue
        try:
            quality = float(parameters.strip().removeprefix("q=") or 1.0)
        except ValueError:
            continue
        best[language] = max(best[language], quality)
    return best["fr"] > best["en"]


def status_of(failure: Failure, *, request_id: str, accept_language: str) -> status_pb2.Status:
    """The ``google.rpc.Status`` of a failure.

    Details: ErrorInfo (reason, domain, metadata), RequestInfo, LocalizedMessage in the language
    asked for, and BadRequest when fields are at fault.
    """
    facts = {key: _cut(value, _MAX_METADATA_CHARACTERS) for key, value in failure.metadata.items()}
    facts["request_id"] = request_id
    if failure.spec is not None:
        facts["remedy"] = failure.spec.remedy
    details: list[any_pb2.Any] = []
    _pack(
        details,
        error_details_pb2.ErrorInfo(reason=failure.reason, domain=ERROR_DOMAIN, metadata=facts),
    )
    if failure.violations:
        bad = error_details_pb2.BadRequest()
        for violation in failure.violations:
            bad.field_violations.add(
                field=violation.field,
                description=_cut(violation.description, _MAX_METADATA_CHARACTERS),
            )
        _pack(details, bad)
    _pack(details, error_details_pb2.RequestInfo(request_id=request_id))
    if failure.spec is not None:
        french = prefers_french(accept_language)
        text = failure.spec.description_fr if french else failure.spec.description_en
        _pack(
            details,
            error_details_pb2.LocalizedMessage(locale="fr" if french else "en", message=text),
        )
    message = _cut(failure.message, _MAX_MESSAGE_CHARACTERS)
    return status_pb2.Status(code=failure.code.value[0], message=message, details=details)


def _pack(details: list[any_pb2.Any], message: object) -> None:
    packed = any_pb2.Any()
    packed.Pack(message)  # type: ignore[arg-type]  # google.rpc messages are protobuf messages
    details.append(packed)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
