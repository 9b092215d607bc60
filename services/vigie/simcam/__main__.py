"""``python -m vigie.simcam CONFIG``: the simulator as a process of its own.

Prints one line of JSON (`ready_line`) when it serves; ends on SIGTERM or SIGINT.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

from vigie.simcam.command import SimCamOptions, ready_line, run_simcam
from vigie.simcam.config import ConfigError
from vigie.simcam.footage import FootageError
from vigie.simcam.server import SimCamServer

_USAGE: Final = 2


def _announce(server: SimCamServer) -> None:
    sys.stdout.write(ready_line(server) + "\n")
    sys.stdout.flush()


def main(arguments: list[str]) -> int:
    """Run; exit codes: 0 stopped, 1 could not start, 2 wrong usage or configuration."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m vigie.simcam CONFIG.toml|.json\n")
        return _USAGE
    try:
        asyncio.run(run_simcam(SimCamOptions(config=Path(arguments[0])), _announce))
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return _USAGE
    except (FootageError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
