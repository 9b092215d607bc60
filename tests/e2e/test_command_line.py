"""`vigie` as people and scripts use it: answers, files, JSON, exit codes."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from e2e import estate, proof
from e2e.commands import run_vigie
from e2e.harness import Installation

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]
CAMERA = "cam-h264"


def text_of(instant_us: int) -> str:
    return datetime.fromtimestamp(instant_us / 1e6, UTC).isoformat()


async def test_timeline_for_people_and_for_machines(
    vigie: Installation, recorded: tuple[int, int]
) -> None:
    period = ("--from", text_of(recorded[0]), "--to", text_of(recorded[1]))
    drawn, told = await asyncio.gather(
        vigie.command("timeline", CAMERA, estate.UNAUTHORISED, *period),
        vigie.command("--json", "timeline", CAMERA, estate.UNAUTHORISED, *period),
    )
    assert drawn.code == told.code == 0, (drawn, told)
    assert CAMERA in drawn.out
    answer = json.loads(told.out)
    kinds = {
        timeline["camera"]: [(entry["kind"], entry["cause"]) for entry in timeline["entries"]]
        for timeline in answer["timelines"]
    }
    assert kinds == {
        f"cameras/{CAMERA}": [("TIMELINE_ENTRY_KIND_SPAN", "GAP_CAUSE_UNSPECIFIED")],
        f"cameras/{estate.UNAUTHORISED}": [("TIMELINE_ENTRY_KIND_GAP", "GAP_CAUSE_NOT_AUTHORISED")],
    }


async def test_clip_and_snapshot_are_files(
    vigie: Installation, recorded: tuple[int, int], tmp_path: Path
) -> None:
    clip, still = tmp_path / "clip.mp4", tmp_path / "still.jpg"
    start_us = recorded[0] + 1_000_000
    outcome = await vigie.command(
        "clip", CAMERA, "-o", str(clip), "--purpose", "essai",
        "--from", text_of(start_us), "--to", text_of(start_us + 2_000_000), person="enqueteur",
    )  # fmt: skip
    assert outcome.code == 0, outcome
    assert len(proof.frames_of_file(clip.read_bytes())) >= 50
    outcome = await vigie.command(
        "snapshot", CAMERA, "-o", str(still), "--purpose", "essai", "--at", text_of(start_us)
    )
    assert outcome.code == 0, outcome
    assert still.read_bytes().startswith(b"\xff\xd8\xff")


async def test_live_for_a_second(vigie: Installation, tmp_path: Path) -> None:
    file = tmp_path / "live.mp4"
    outcome = await vigie.command(
        "live", CAMERA, "-o", str(file), "--for", "1s", "--purpose", "essai"
    )
    assert outcome.code == 0, outcome
    assert len(proof.frames_of_file(file.read_bytes())) >= 20


async def test_completeness_and_lists(vigie: Installation, recorded: tuple[int, int]) -> None:
    period = ("--from", text_of(recorded[0]), "--to", text_of(recorded[1]))
    told, listed, cameras = await asyncio.gather(
        vigie.command("--json", "completeness", CAMERA, *period),
        vigie.command("--json", "segments", CAMERA, *period),
        vigie.command("--json", "camera", "list"),
    )
    assert (told.code, listed.code, cameras.code) == (0, 0, 0)
    (line,) = json.loads(told.out)["cameras"]
    assert line["expected"] == line["stored"]
    assert len(listed.out.splitlines()) >= 4
    assert CAMERA in cameras.out
    assert estate.PASSWORD not in cameras.out


async def test_exit_codes_tell_failures_apart(vigie: Installation, tmp_path: Path) -> None:
    snapshot = ("snapshot", CAMERA, "-o", str(tmp_path / "no.jpg"))
    outcomes = await asyncio.gather(
        vigie.command(*snapshot, "--purpose", "essai", person=None),
        vigie.command(*snapshot),
        run_vigie("--address", "127.0.0.1:1", "timeline", CAMERA),
        run_vigie("timelin"),
        run_vigie("evidence", "verify", str(tmp_path / "nothing.zip")),
    )
    refused, usage, unreachable, unknown, missing = outcomes
    assert (refused.code, "UNAUTHENTICATED" in refused.err) == (3, True), refused
    assert (usage.code, "purpose.text" in usage.err) == (2, True), usage
    assert unreachable.code == 6, unreachable
    assert unknown.code == 2
    assert missing.code in (2, 7), missing
    for outcome in outcomes:
        assert "Traceback" not in outcome.err
    assert not (tmp_path / "no.jpg").exists()


async def test_failures_for_machines(vigie: Installation, tmp_path: Path) -> None:
    outcome = await vigie.command("--json", "snapshot", CAMERA, "-o", str(tmp_path / "no.jpg"))
    error = json.loads(outcome.err)["error"]
    assert error["reason"] == "PURPOSE_REQUIRED"
    assert [each["field"] for each in error["violations"]] == ["purpose.text"]
    assert error["request_id"]


async def test_the_checker_runs_beside_the_product(
    vigie: Installation, recorded: tuple[int, int]
) -> None:
    outcome = await run_vigie("fsck", "--grace", "20s", "--config", str(vigie.config_file))
    assert outcome.code == 0, outcome


async def test_tokens_come_from_the_command_line(vigie: Installation) -> None:
    made = await run_vigie("token", "create", "operateur", "--config", str(vigie.config_file))
    assert made.code == 0, made
    seen = await run_vigie(
        "--json", "access", "whoami",
        environment={"VIGIE_ADDRESS": vigie.address(), "VIGIE_TOKEN": made.out.strip()},
    )  # fmt: skip
    assert seen.code == 0, seen
    assert json.loads(seen.out)["subject"] == "operateur"
