"""The metrics of the process itself: what grows when something is never given back."""

from typing import Final

from vigie.platform.metrics import MetricSpec

TASKS: Final = MetricSpec(
    "vigie_platform_tasks", "gauge", "Tasks of the event loop that have not ended."
)
THREADS: Final = MetricSpec("vigie_platform_threads", "gauge", "Threads of the process.")
FILES: Final = MetricSpec(
    "vigie_platform_open_files", "gauge", "File descriptors: files, sockets and pipes."
)
MEMORY: Final = MetricSpec(
    "vigie_platform_resident_bytes", "gauge", "Memory of the process that is not swapped out."
)
CPU: Final = MetricSpec(
    "vigie_platform_cpu_seconds", "gauge", "Processor time, user and system, since the start."
)

METRICS: Final = (TASKS, THREADS, FILES, MEMORY, CPU)
