"""Bounds what callers who are not known may hold of a process.

gRPC counts all calls alike, and refuses further ones when there are too many
(`grpc.max_concurrent_calls`): without bounds of their own, strangers could hold all of them open.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from vigie.platform.errors import VigieError
from vigie.platform.reasons import TOO_MANY_STRANGERS

_MOST_TOLD: Final = 64
"""Addresses that are named in the logs, once each, until no stranger holds a slot any more."""


class StrangerSlots:
    """How many calls of callers who are not known may be waited for at one time.

    Args:
        total: in all.
        of_peer: of one address (the port left out), so that one cannot take them from others.
        refused: told of each call that gets no slot.
    """

    def __init__(
        self, *, total: int, of_peer: int, refused: Callable[[], None] | None = None
    ) -> None:
        self._total = total
        self._of_peer = of_peer
        self._refused = refused
        self._taken: Counter[str] = Counter()
        self._told: set[str] = set()
        self._log = structlog.get_logger("vigie.grpc")

    @contextmanager
    def slot(self, peer: str) -> Iterator[None]:
        """Hold a slot for a call that comes from ``peer``.

        Raises:
            VigieError: TOO_MANY_STRANGERS.
        """
        if self._taken.total() >= self._total or self._taken[peer] >= self._of_peer:
            self._tell(peer)
            raise VigieError(TOO_MANY_STRANGERS, "too many calls of strangers are open")
        self._taken[peer] += 1
        try:
            yield
        finally:
            self._taken[peer] -= 1
            if not self._taken[peer]:
                del self._taken[peer]
            if not self._taken:
                self._told.clear()

    def _tell(self, peer: str) -> None:
        if self._refused is not None:
            self._refused()
        if peer not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(peer)
            self._log.warning("strangers_turned_away", peer=peer, open_calls=self._taken[peer])
