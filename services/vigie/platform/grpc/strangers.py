"""Bounds what callers who are not known may hold of a process.

gRPC counts all calls alike, and refuses further ones when there are too many
(`grpc.max_concurrent_calls`): without bounds of their own, strangers could hold all of them open.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vigie.platform.errors import VigieError
from vigie.platform.reasons import TOO_MANY_STRANGERS


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

    @contextmanager
    def slot(self, peer: str) -> Iterator[None]:
        """Hold a slot for a call that comes from ``peer``.

        Raises:
            VigieError: TOO_MANY_STRANGERS.
        """
        if self._taken.total() >= self._total or self._taken[peer] >= self._of_peer:
            if self._refused is not None:
                self._refused()
            raise VigieError(TOO_MANY_STRANGERS, "too many calls of strangers are open")
        self._taken[peer] += 1
        try:
            yield
        finally:
            self._taken[peer] -= 1
            if not self._taken[peer]:
                del self._taken[peer]
