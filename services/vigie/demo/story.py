"""The story of the demonstration, act by act; every claim it makes is a check that can fail."""

import asyncio
import sys
from pathlib import Path

from rich.console import Console

from vigie.cli.language import tr
from vigie.demo.account import Account
from vigie.demo.acts import access, estate_acts, evidence_acts, recording_acts
from vigie.demo.scene import Scene
from vigie.demo.stage import MARKER, Stage, StageError
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock

_LOG_WIDTH = 120
__all__ = ["StageError", "run_demo"]


async def run_demo(folder: Path, console: Console, *, stay: bool | None) -> bool:
    """Run it; returns whether every check held.

    Args:
        folder: where it works.
        console: where it tells.
        stay: keep everything up afterwards until Ctrl-C; ``None``: when there is a terminal.

    Raises:
        StageError: it could not begin or go on.
    """
    wall, clock = SystemWallClock(), SystemMonotonicClock()
    stays = sys.stdin.isatty() and console.is_terminal if stay is None else stay
    if not console.is_terminal:
        console.width = max(console.width, _LOG_WIDTH)  # a log has no edge to fold at
    account = Account(console, clock)
    console.print(f"[bold]Vigie[/]  {tr('from the camera to the court', 'de la caméra au juge')}")
    folder = await asyncio.to_thread(folder.resolve)
    async with Stage(folder, wall, clock) as stage:
        scene = Scene(stage, account, wall, clock)
        try:
            await _play(scene)
            if stays:
                await scene.stay()
            await recording_acts.stop(scene)
            await recording_acts.check_store(scene)
        finally:
            account.write(folder / MARKER)
    failed = account.failed
    held = len(account.checks) - len(failed)
    console.print()
    if failed:
        console.print(f"[bold red]{held} / {len(account.checks)}[/]")
        for check in failed:
            console.print(f"  ✗ {check.name}  {check.detail}", markup=False)
    else:
        words = tr("checks held", "vérifications tenues")
        console.print(f"[bold green]{held} / {len(account.checks)}[/] {words}")
    console.print(f"{folder}/{MARKER}, {folder}/store/, {folder}/evidence/", style="dim")
    return not failed


async def _play(scene: Scene) -> None:
    await recording_acts.start(scene)
    await estate_acts.make_estate(scene)
    await recording_acts.first_footage(scene)
    await recording_acts.break_a_camera(scene)
    await recording_acts.timeline(scene)
    await recording_acts.play(scene)
    await recording_acts.live(scene)
    await evidence_acts.release(scene)
    await evidence_acts.tamper(scene)
    await access.refusals(scene)
    await access.trail(scene)
