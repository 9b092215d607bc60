"""Ports that have to be known before the process that listens there is started.

What the kernel finds free (port 0) it gives to the next client as soon as it is let go: a service
that starts a second later finds its port taken. Below the range of clients nobody takes one: not
even that of a process which was killed and is to be started again, and no client that tries again
and again can connect to itself there.
"""

import os
import random
import re
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Final

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 10_000
_CLIENTS: Final = 32_768
"""Where the range of clients begins, if the kernel does not say it."""
_WORKERS: Final = 16
_given: set[int] = set()


def quiet_ports(count: int) -> list[int]:
    """Free ports below those that the kernel gives to clients, none of them twice.

    Workers of pytest-xdist have ports of their own: what one has chosen is not taken yet.
    """
    clients = int(_RANGE.read_text().split()[0]) if _RANGE.exists() else _CLIENTS
    own = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0) % _WORKERS
    choices = range(_LOWEST + own, max(clients, 2 * _LOWEST), _WORKERS)
    found: list[int] = []
    with ExitStack() as held:
        while len(found) < count:
            port = random.SystemRandom().choice(choices)
            one = held.enter_context(socket.socket())
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
            if port not in _given:
                found.append(port)
                _given.add(port)
    return found
