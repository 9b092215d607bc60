"""The example client of the integrators' guide, as the guide tells to run it."""

import asyncio
import subprocess
import sys
from pathlib import Path

import av
import pytest

from e2e.harness import Installation

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
CLIENT = Path(__file__).resolve().parents[2] / "docs" / "guide" / "examples" / "client.py"
CAMERA = "cam-h264"


def run(vigie: Installation, person: str, folder: Path) -> subprocess.CompletedProcess[str]:
    folder.mkdir()
    token = folder / "token"
    token.write_text(vigie.token(person) + "\n", encoding="ascii")
    arguments = ["--address", vigie.address(), "--token-file", str(token), "--camera", CAMERA]
    arguments += ["--output", str(folder / "out"), "--live-seconds", "2"]
    return subprocess.run(
        [sys.executable, CLIENT, *arguments],
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


async def test_the_example_client_does_all_it_says(
    vigie: Installation, recorded: tuple[int, int], tmp_path: Path
) -> None:
    done = await asyncio.to_thread(run, vigie, "responsable", tmp_path / "allowed")
    assert done.returncode == 0, done.stderr
    assert f"cameras/{CAMERA}/stream  STREAM_STATE_RECORDING" in done.stdout
    assert " SPAN" in done.stdout
    played, live = sorted((tmp_path / "allowed" / "out").glob("0*.mp4")), "live.mp4"
    clips = sorted((tmp_path / "allowed" / "out").glob("cam*.mp4"))
    assert played
    assert len(clips) == 1
    for path in (*played, *clips, tmp_path / "allowed" / "out" / live):
        assert frames(path) > 0, path.name


async def test_the_example_client_tells_what_it_may_not(
    vigie: Installation, recorded: tuple[int, int], tmp_path: Path
) -> None:
    operator = await asyncio.to_thread(run, vigie, "operateur", tmp_path / "operator")
    assert operator.returncode == 0, operator.stderr
    assert "no clip: PERMISSION_DENIED PERMISSION_DENIED" in operator.stdout
    stranger = await asyncio.to_thread(run, vigie, "personne", tmp_path / "stranger")
    assert stranger.returncode == 1
    assert "PERSON_UNKNOWN" in stranger.stderr
