"""Names of time zones in a configuration."""

from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AfterValidator


def _known(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError) as error:
        raise ValueError(f"no time zone is called {value!r}; for instance Europe/Paris") from error
    return value


TimeZoneName = Annotated[str, AfterValidator(_known)]
"""The name of a time zone that this machine knows (IANA)."""
