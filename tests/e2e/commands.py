"""Commands of `vigie`, as a user runs them."""

import asyncio
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(slots=True)
class Outcome:
    """What a command that ran to its end left behind."""

    code: int
    out: str
    err: str


async def run_vigie(
    *arguments: str, environment: Mapping[str, str] | None = None, seconds: float = 180
) -> Outcome:
    """``vigie ARGUMENTS`` as a user runs it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "vigie", *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"LANG": "C.UTF-8", "COLUMNS": "200"} | dict(environment or {}),
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), seconds)
    except TimeoutError:
        process.kill()
        out, err = await process.communicate()
        raise AssertionError(f"vigie {arguments} did not end: {out!r} {err!r}") from None
    return Outcome(process.returncode or 0, out.decode(), err.decode())
