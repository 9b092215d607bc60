"""Text as PostgreSQL can keep it."""

from collections.abc import Callable
from typing import Final

from sqlalchemy.dialects.postgresql.asyncpg import AsyncpgString
from sqlalchemy.engine import Dialect

_NUL: Final = "\0"
_REPLACED: Final = "\ufffd"


class TextWithoutNul(AsyncpgString):
    """Text in which U+0000, which no text of PostgreSQL can hold, becomes U+FFFD.

    It has no meaning in what people write; refused, it would keep an access with a hostile purpose
    out of the searchable table. Where bytes count (records, events) they are kept as bytes.
    """

    def bind_processor(self, dialect: Dialect) -> Callable[[str | None], str | None]:
        """See `sqlalchemy.types.TypeEngine.bind_processor`."""
        return _without_nul


def _without_nul(value: str | None) -> str | None:
    return value.replace(_NUL, _REPLACED) if value is not None and _NUL in value else value
