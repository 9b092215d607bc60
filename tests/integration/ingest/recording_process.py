"""A process that records scripted footage and may be killed at any step (see test_kill.py).

    python recording_process.py ROOT GROUPS

`VIGIE_FAULT` says where it dies. It ends by itself when everything is stored and told.
"""

import asyncio
import os
import pickle
import sys
from pathlib import Path

from ingest_support import Footage, Installation
from vigie.ingest.spool.faults import FAULT_POINTS
from vigie.platform.faultpoint import faults_from_environment


async def record(root: Path, film: Footage, groups: int) -> None:
    faults = faults_from_environment(os.environ, enabled=True, known=FAULT_POINTS)
    installation = await Installation(root).open(faults=faults)
    intake = installation.intake()
    for index in range(groups):
        intake.group(film.parameters, film.group(index))
        await installation.path.drain_writers(10)
    intake.ended("CLOSED_BY_CAMERA", "", 0)
    await installation.close()


if __name__ == "__main__":
    directory = Path(sys.argv[1])
    asyncio.run(
        record(directory, pickle.loads((directory / "film").read_bytes()), int(sys.argv[2]))
    )
