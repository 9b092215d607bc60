"""What sessions and reactors share: clocks, settings, the resolver, TLS contexts, a log."""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from vigie.ingest.native.resolver import Resolver
from vigie.ingest.native.settings import NativeSettings
from vigie.platform.clock import MonotonicClock, WallClock

_RMEM_MAX: Final = Path("/proc/sys/net/core/rmem_max")


@dataclass(slots=True)
class Environment:
    """Built once an engine; ``processor_ns`` is what the thread that asks has used so far."""

    settings: NativeSettings
    wall: WallClock
    monotonic: MonotonicClock
    resolver: Resolver = field(default_factory=Resolver)
    processor_ns: Callable[[], int] = time.thread_time_ns
    kernel_buffer_bytes: int = 0
    _contexts: dict[bool, ssl.SSLContext] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.kernel_buffer_bytes = grantable_buffer(self.settings.kernel_buffer_bytes)

    @property
    def stall_us(self) -> int:
        """See `NativeSettings.stall_seconds`."""
        return round(self.settings.stall_seconds * 1_000_000)

    def tls(self, *, verify: bool) -> ssl.SSLContext:
        """The context for rtsps; contexts are dear (1 MB of certificates), so there are two."""
        context = self._contexts.get(verify)
        if context is None:
            context = ssl.create_default_context()
            if not verify:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._contexts[verify] = context
        return context


def grantable_buffer(wanted_bytes: int) -> int:
    """``wanted_bytes`` if the kernel grants it, else 0: do not ask.

    Asking switches off the kernel's own adaptation, which goes up to 6 MB by default; a refused
    wish (the usual limit is 208 KiB) would therefore leave less than no wish.
    """
    try:
        granted = int(_RMEM_MAX.read_text())
    except (OSError, ValueError):
        return 0
    return wanted_bytes if granted >= wanted_bytes else 0
