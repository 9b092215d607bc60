"""What the last check found, left for the product to show as metrics.

`vigie fsck` runs beside the product, by a timer or by hand; what it found would be seen by whoever
reads its output only. It leaves a small file in the data directory, and the product reads it.
"""

import asyncio
import json
import os
from collections import Counter as Tally
from pathlib import Path
from typing import Final

import structlog
from prometheus_client import Gauge

from vigie.platform.metrics import MetricsRegistry
from vigie.recording import metrics
from vigie.recording.fsck.report import Report

log = structlog.get_logger(__name__)
INVARIANTS: Final = tuple(f"I{number}" for number in range(1, 11))
FILE: Final = "fsck.json"


def write_summary(path: Path, report: Report, now_us: int) -> None:
    """Leave counts of findings by invariant and severity (blocking).

    Raises:
        OSError: the file cannot be written.
    """
    tally = Tally((finding.invariant, str(finding.severity)) for finding in report.findings)
    content = {
        "checked_us": now_us,
        "deep": report.deep,
        "findings": [
            {"invariant": invariant, "severity": severity, "count": count}
            for (invariant, severity), count in sorted(tally.items())
        ],
    }
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(json.dumps(content) + "\n", encoding="utf-8")
    temporary.replace(path)


class FsckGauges:
    """Shows what the last check found.

    Args:
        path: of the file that `write_summary` leaves.
        registry: where the metrics are made.
    """

    def __init__(self, path: Path, registry: MetricsRegistry) -> None:
        self._path = path
        self._findings: Gauge = registry.gauge(metrics.FSCK_FINDINGS)
        self._checked: Gauge = registry.gauge(metrics.FSCK_LAST)
        self._read_ns = 0

    async def refresh(self) -> None:
        """Read the file when it is another than before."""
        await asyncio.to_thread(self._refresh)

    def _refresh(self) -> None:
        try:
            written_ns = self._path.stat().st_mtime_ns
            if written_ns == self._read_ns:
                return
            told = json.loads(self._path.read_bytes())
            checked, rows = told["checked_us"] / 1e6, told["findings"]
            counts = {(row["invariant"], row["severity"]): int(row["count"]) for row in rows}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError) as error:
            log.warning("fsck_summary_unreadable", error=str(error))
            return
        self._read_ns = written_ns
        self._checked.set(checked)
        for invariant in INVARIANTS:
            for severity in ("ERROR", "WARNING"):
                count = counts.get((invariant, severity), 0)
                self._findings.labels(invariant=invariant, severity=severity).set(count)
