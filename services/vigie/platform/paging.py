"""Page and resume tokens: opaque, bound to the query they were given out for.

A token carries where to go on and a keyed digest over that and over the query. A token that was
altered, made up, or sent with other criteria is refused instead of giving a wrong page.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from vigie.platform.errors import ReasonSpec, VigieError
from vigie.platform.reasons import PAGE_TOKEN_INVALID, RESUME_TOKEN_INVALID

PAGE_BYTES: Final = 512 << 10
"""A page ends here though it has fewer items than were asked for: what people write is counted in
characters, of up to four bytes, and an answer that is larger than a message is none."""
_DIGEST_BYTES: Final = 16
Item = TypeVar("Item", bound=Message)

Cursor = Mapping[str, Any]
"""Where to go on: small, of JSON types."""


def query_of(request: Message, *, without: tuple[str, ...] = ("page_token", "page_size")) -> bytes:
    """What a token is bound to: the request without the fields that may change between pages."""
    copy = type(request)()
    copy.CopyFrom(request)
    for name in without:
        copy.ClearField(name)
    # Deterministic within one version of the program, which is all a token has to outlive.
    return type(request).DESCRIPTOR.full_name.encode() + copy.SerializeToString(deterministic=True)


class Tokens:
    """Seals and opens tokens.

    Args:
        key: secret of the installation; the same in every process that serves the same lists.
            Tokens show nothing that their holder has not read already: the key only keeps
            accidents and guesses out.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def seal(self, cursor: Cursor, query: bytes, *, subject: str = "") -> str:
        """The token that stands for ``cursor`` in ``query`` (for one ``subject``, if given)."""
        # Letters beyond ASCII as they are: escaped, a name of them is three times as long.
        body = json.dumps(
            dict(cursor), ensure_ascii=False, separators=(",", ":"), sort_keys=True
        ).encode()
        return self.seal_bytes(body, query, subject=subject)

    def seal_bytes(self, body: bytes, query: bytes, *, subject: str = "") -> str:
        """As `seal`, for a cursor that is bytes already."""
        sealed = self._digest(body, query, subject) + body
        return base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()

    def open_page(self, token: str, query: bytes, *, subject: str = "") -> Cursor | None:
        """The cursor of a page token; ``None`` when it is empty: the first page.

        Raises:
            VigieError: PAGE_TOKEN_INVALID.
        """
        body = self._open(token, (query,), subject, PAGE_TOKEN_INVALID, "page_token")
        return None if body is None else _cursor(body[1], PAGE_TOKEN_INVALID, "page_token")

    def open_resume(
        self, token: str, query: bytes, *, subject: str = "", field: str = "resume_token"
    ) -> Cursor | None:
        """The cursor of a resume token; ``None`` when it is empty: from the beginning.

        Raises:
            VigieError: RESUME_TOKEN_INVALID.
        """
        body = self._open(token, (query,), subject, RESUME_TOKEN_INVALID, field)
        return None if body is None else _cursor(body[1], RESUME_TOKEN_INVALID, field)

    def open_bytes(
        self, token: str, queries: Sequence[bytes], *, field: str = "resume_token"
    ) -> tuple[int, bytes] | None:
        """What `seal_bytes` was given, and for which of ``queries``: its number in their order.

        The query of another form of cursor tells the forms apart, also to a program that knows
        the older one only: it refuses the token instead of misreading it.

        Returns:
            ``None`` when the token is empty: from the beginning.

        Raises:
            VigieError: RESUME_TOKEN_INVALID.
        """
        return self._open(token, queries, "", RESUME_TOKEN_INVALID, field)

    def _digest(self, body: bytes, query: bytes, subject: str) -> bytes:
        bound = b"\x00".join((hashlib.sha256(query).digest(), subject.encode(), body))
        return hmac.new(self._key, bound, hashlib.sha256).digest()[:_DIGEST_BYTES]

    def _open(
        self, token: str, queries: Sequence[bytes], subject: str, reason: ReasonSpec, field: str
    ) -> tuple[int, bytes] | None:
        if not token:
            return None
        try:
            sealed = base64.b64decode(
                token + "=" * (-len(token) % 4), altchars=b"-_", validate=True
            )
        except (binascii.Error, ValueError) as error:
            raise VigieError(reason, "this is not a token of this service", field=field) from error
        digest, body = sealed[:_DIGEST_BYTES], sealed[_DIGEST_BYTES:]
        for number, query in enumerate(queries):
            if hmac.compare_digest(digest, self._digest(body, query, subject)):
                return number, body
        raise VigieError(
            reason, "the token was given out for another query, or altered", field=field
        )


def _cursor(body: bytes, reason: ReasonSpec, field: str) -> Cursor:
    try:
        cursor: Cursor = json.loads(body)
    except ValueError as error:
        raise VigieError(reason, "the token is of another version", field=field) from error
    return cursor


def page_size_of(asked: int, *, default: int, most: int) -> int:
    """The number of items of a page (AIP-158): 0 is the default, too many are cut."""
    return min(asked or default, most)


def fitting(items: Sequence[Item], *, most_bytes: int = PAGE_BYTES) -> Sequence[Item]:
    """The first of ``items`` that make a page of at most ``most_bytes``; one at least."""
    size_bytes = 0
    for count, item in enumerate(items):
        size_bytes += item.ByteSize()
        if count and size_bytes > most_bytes:
            return items[:count]
    return items
