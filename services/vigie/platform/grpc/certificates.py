"""Until when the certificates of a process are valid: a metric to be alerted by, and readiness.

A certificate that has expired ends no connection. It refuses the next ones: a service goes on
working until somebody restarts, and then nobody reaches it. So the process says so at once.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from vigie.platform.clock import WallClock, from_us
from vigie.platform.errors import VigieError
from vigie.platform.grpc.credentials import TlsFiles
from vigie.platform.grpc.metrics import CERTIFICATE_EXPIRY
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.module import ServiceBinding
from vigie.platform.reasons import CERTIFICATE_EXPIRED


class CertificateWatch:
    """Says until when certificates are valid (a `vigie.platform.module.Module`).

    Args:
        files: those of the process; followed when they change.
        wall_clock: compared with their end.
        metrics: where that end is told.
    """

    name = "certificates"

    def __init__(
        self, files: Sequence[TlsFiles], wall_clock: WallClock, metrics: MetricsRegistry
    ) -> None:
        self._files = tuple(files)
        self._wall_clock = wall_clock
        gauge = metrics.gauge(CERTIFICATE_EXPIRY)
        for each in self._files:
            gauge.labels(section=each.section).set_function(partial(_end_seconds, each))

    def services(self) -> Sequence[ServiceBinding]:
        """None of its own."""
        return ()

    async def start(self) -> None:
        """Nothing to do: it looks when it is asked."""

    def not_ready(self) -> str | None:
        """The certificate that has expired, and when."""
        for each in self._files:
            end_us = _end_of(each)
            if end_us <= self._wall_clock.now_us():
                since = datetime.astimezone(from_us(end_us), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
                message = f"{each.certificate_file} has expired on {since}; put a new one there"
                return str(VigieError(CERTIFICATE_EXPIRED, message))
        return None

    async def stop(self, *, timeout_seconds: float) -> None:
        """Nothing to do."""
        del timeout_seconds


def _end_seconds(files: TlsFiles) -> float:
    return _end_of(files) / 1e6


def _end_of(files: TlsFiles) -> int:
    files.look()
    return files.end_us
