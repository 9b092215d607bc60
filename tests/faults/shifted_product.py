"""The whole product as a process whose wall clock a test sets; started by `faults.clocks`.

Usage: ``python shifted_product.py CONFIG OFFSET [TARGET]``; the file OFFSET holds eight bytes, what
is added to the machine's wall clock, in microseconds. Without a target it is everything.
"""

import asyncio
import mmap
import os
import struct
import sys
from pathlib import Path

from vigie.app import SECTIONS, Application
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.platform.config import load_config
from vigie.platform.logging import LoggingConfig, configure_logging
from vigie.storage import Clocks
from vigie.targets import ALL, TARGETS

OFFSET = struct.Struct("<q")


class SetClock:
    """The machine's wall clock, wrong by what a file says at the moment."""

    def __init__(self, file: Path) -> None:
        self._system = SystemWallClock()
        with file.open("rb") as opened:
            self._offset = mmap.mmap(opened.fileno(), OFFSET.size, access=mmap.ACCESS_READ)

    def now_us(self) -> int:
        """See `vigie.platform.clock.WallClock`."""
        return self._system.now_us() + OFFSET.unpack_from(self._offset)[0]


async def _run(config_file: Path, offset_file: Path, target: str = ALL) -> int:
    config = load_config(config_file, SECTIONS, os.environ)
    configure_logging(config.section(LoggingConfig))
    clocks = Clocks(SetClock(offset_file), SystemMonotonicClock())
    async with Application(config, clocks, target=TARGETS[target]) as application:
        return int(await application.lifecycle.run())


if __name__ == "__main__":
    sys.exit(asyncio.run(_run(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])))
