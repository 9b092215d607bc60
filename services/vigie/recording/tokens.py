"""Opaque tokens (page, resume): a position, bound to the request it was given for.

A token is no permission: every call is admitted anew. The checksum only tells a token that was
cut, typed or taken from another request from a real one.
"""

import base64
import hashlib
import json
from typing import Any, Final

from vigie.platform.errors import ReasonSpec, VigieError

_CHECK_BYTES: Final = 8


def _check(payload: bytes, bound_to: str) -> bytes:
    key = bound_to.encode()
    return hashlib.blake2b(key + b"\0" + payload, digest_size=_CHECK_BYTES).digest()


def make_token(position: list[Any], bound_to: str) -> str:
    """Write a position (numbers and short texts) as a token bound to a request."""
    payload = json.dumps(position, separators=(",", ":"), ensure_ascii=True).encode()
    raw = _check(payload, bound_to) + payload
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def read_token(token: str, bound_to: str, reason: ReasonSpec, field: str) -> list[Any]:
    """The position in a token.

    Raises:
        VigieError: ``reason``, naming ``field``: not a token of this request.
    """
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except ValueError:
        raw = b""
    payload = raw[_CHECK_BYTES:]
    if not payload or raw[:_CHECK_BYTES] != _check(payload, bound_to):
        raise VigieError(reason, "not a token that was given for this request", field=field)
    position = json.loads(payload)
    assert isinstance(position, list)
    return position
