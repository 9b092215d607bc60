"""Hashing beside writing."""

import hashlib
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

_BATCH_BYTES: Final = 1 << 20


class DigestBeside:
    """SHA-256 computed in a thread beside the one that writes: both work on the same bytes.

    What is handed in must not change; at most two batches wait, so memory stays bounded.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1, "vigie-evidence-digest")
        self._under_way: deque[Future[None]] = deque()
        self._batch: list[bytes | memoryview] = []
        self._batch_bytes = 0

    def update(self, chunk: bytes | memoryview) -> None:
        """Append content."""
        self._batch.append(chunk)
        self._batch_bytes += len(chunk)
        if self._batch_bytes >= _BATCH_BYTES:
            self._hand_over()

    def hexdigest(self) -> str:
        """The digest of all content, lower-case hexadecimal."""
        self._hand_over()
        while self._under_way:
            self._under_way.popleft().result()
        return self._digest.hexdigest()

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _hand_over(self) -> None:
        while len(self._under_way) > 1:
            self._under_way.popleft().result()
        self._under_way.append(self._thread.submit(self._take_in, self._batch))
        self._batch, self._batch_bytes = [], 0

    def _take_in(self, batch: Sequence[bytes | memoryview]) -> None:
        for chunk in batch:
            self._digest.update(chunk)
