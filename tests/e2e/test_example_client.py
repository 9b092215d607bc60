"""The client of the integrator's guide does what the guide says, as a program of its own."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from e2e import proof
from e2e.harness import Installation

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
CLIENT = Path(__file__).parents[2] / "docs" / "guide" / "examples" / "client.py"


async def test_the_example_client_works(
    vigie: Installation, recorded: tuple[int, int], tmp_path: Path
) -> None:
    token, output = tmp_path / "token", tmp_path / "out"
    token.write_text(vigie.token("responsable"))
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CLIENT), "--address", vigie.address(), "--token-file", str(token),
        "--camera", "cam-h264", "--output", str(output), "--live-seconds", "1",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env=dict(os.environ),
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 60)
    said = out.decode()
    assert process.returncode == 0, (said, err)
    for expected in ("cameras/cam-h264", "SPAN", "played", "clip", "live"):
        assert expected in said
    files = sorted(output.rglob("*.mp4"))
    assert len(files) >= 3
    for file in files:
        assert proof.frames_of_file(file.read_bytes()), file
