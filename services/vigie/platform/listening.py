"""Addresses to listen on, where the configuration gives a name.

A name may stand for several addresses (``localhost`` is ``127.0.0.1`` and ``::1``). gRPC is content
when it gets one of them, and asyncio takes another port for each where any will do. Who calls the
name may then reach another program on the address that was not to be had; so a name is listened on
at all of its addresses, on one port, or not at all.
"""

import errno
import ipaddress
import socket
from collections.abc import Mapping
from contextlib import ExitStack

_TRIES = 16
# This machine does without the family (IPv6 turned off), whatever its file of names says.
_NOT_HERE = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


def is_name(host: str) -> bool:
    """Whether ``host`` has to be looked up to be listened on."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def addresses_of(name: str, port: int) -> tuple[tuple[str, int], ...]:
    """Every address of this machine that ``name`` stands for, with one port that is free on all.

    Args:
        name: a name, not an IP address.
        port: below 65536; 0 takes a free one.

    Returns:
        (IP address, port); the port is the same in all.

    Raises:
        OSError: the name is none or unknown, none of its addresses is of this machine, or the port
            is taken on one of them.
    """
    try:
        found = socket.getaddrinfo(name, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:
        raise OSError(errno.EINVAL, str(error)) from error
    families = {_scoped(*place): family for family, _, _, _, place in found}
    tries_left = _TRIES if port == 0 else 1
    while True:
        try:
            return _free_on_all(families, port)
        except OSError as error:
            tries_left -= 1
            if error.errno != errno.EADDRINUSE or not tries_left:
                raise


def _scoped(host: str, _port: int, _flow: int = 0, scope: int = 0) -> str:
    """An address of a link means nothing without the link (RFC 4007, section 11)."""
    return f"{host}%{scope}" if scope else host


def _free_on_all(families: Mapping[str, int], port: int) -> tuple[tuple[str, int], ...]:
    free: list[str] = []
    with ExitStack() as held:
        for address, family in families.items():
            try:
                probe = held.enter_context(socket.socket(family, socket.SOCK_STREAM))
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind((address, port))
                # Only a socket that listens meets another one that was bound with REUSEADDR.
                probe.listen(1)
            except OSError as error:
                if error.errno in _NOT_HERE:
                    continue
                raise
            port = probe.getsockname()[1]
            free.append(address)
    if not free:
        raise OSError(errno.EADDRNOTAVAIL, "no address of this machine bears the name")
    return tuple((address, port) for address in free)
