"""Addresses in a configuration."""

from typing import Annotated, Final

from pydantic import AfterValidator

_PORTS: Final = 1 << 16


def _whole(value: str) -> str:
    host, _, port = value.rpartition(":")
    # 127.0.0.1:99999 would be served at port 34463, for the kernel takes the lower 16 bits.
    if host and port.isdecimal() and port.isascii() and int(port) < _PORTS:
        return value
    raise ValueError(f"{value!r} is not host:port with a port up to {_PORTS - 1}")


def _whole_or_socket(value: str) -> str:
    return value if value.startswith("unix:") else _whole(value)


HostPort = Annotated[str, AfterValidator(_whole)]
"""``host:port``; port 0 where a free one will do."""

ListenAddress = Annotated[str, AfterValidator(_whole_or_socket)]
"""`HostPort`, or ``unix:…``."""
