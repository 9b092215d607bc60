"""Checks requests against the rules that stand in their contracts (protovalidate)."""

from typing import Any, Protocol

import protovalidate
from google.protobuf.message import Message

from vigie.platform.grpc.failure import FieldViolation, RequestInvalidError
from vigie.platform.reasons import REQUEST_INVALID

MAX_VIOLATIONS = 20


class RequestValidator(Protocol):
    """Checks one message."""

    def check(self, message: Message) -> None:
        """Raise RequestInvalidError (REQUEST_INVALID) when a rule is broken."""
        ...


class ContractValidator:
    """The rules of the contracts; compiled once for each message type."""

    def __init__(self) -> None:
        self._validator = protovalidate.Validator()

    def check(self, message: Message) -> None:
        """See `RequestValidator.check`; names at most `MAX_VIOLATIONS` fields."""
        found = self._validator.collect_violations(message)
        if not found:
            return
        violations = [
            FieldViolation(field_path(item.proto) or "request", item.proto.message)
            for item in found[:MAX_VIOLATIONS]
        ]
        raise RequestInvalidError(REQUEST_INVALID, violations)


def field_path(violation: Any) -> str:
    """``filter.kinds[0]`` of a violation; empty when it concerns the whole message."""
    if violation.field is None:
        return ""
    parts: list[str] = []
    for element in violation.field.elements:
        subscript = element.subscript
        suffix = "" if subscript is None else f"[{subscript.value}]"
        parts.append(f"{element.field_name}{suffix}")
    return ".".join(parts)
