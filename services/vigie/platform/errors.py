"""Errors of the domain: values with a stable reason, mapped to gRPC status once, at the edge."""

from dataclasses import dataclass
from typing import Final

import grpc

ERROR_DOMAIN: Final = "vigie"
"""The ``domain`` of every ``google.rpc.ErrorInfo`` this product sends."""


@dataclass(frozen=True, slots=True)
class ReasonSpec:
    """One entry of the catalogue of reasons (AIP-193): stable once published.

    Attributes:
        name: UPPER_SNAKE_CASE; appears in ErrorInfo, the metric label and the runbook.
        code: the canonical gRPC status code this reason is reported with.
        description_en: what it means, for people, in English.
        description_fr: the same in French.
        remedy: what the reader can do about it, in English.
    """

    name: str
    code: grpc.StatusCode
    description_en: str
    description_fr: str
    remedy: str


class VigieError(Exception):
    """A failure of the domain with a stable reason.

    Args:
        reason: the entry of the catalogue.
        message: one line for a person: what and where; never a secret.
        field: path of the request or configuration field at fault, if one is.
        metadata: further facts for machines (ErrorInfo.metadata).
    """

    def __init__(
        self, reason: ReasonSpec, message: str, *, field: str | None = None, **metadata: str
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.field = field
        self.metadata = metadata

    def __str__(self) -> str:
        where = f" ({self.field})" if self.field else ""
        return f"{self.reason.name}: {self.message}{where}"
