"""Runs a target as a process: configuration, logs, life; says in one line what hinders it."""

import os
from pathlib import Path

from rich.console import Console

from vigie.app import SECTIONS, Application
from vigie.platform.config import ConfigError, load_config
from vigie.platform.errors import VigieError
from vigie.platform.lifecycle import StartError
from vigie.platform.logging import LoggingConfig, configure_logging

CONFIG_FAILED = 2
START_FAILED = 6
"""Exit codes, beside those of `vigie.platform.lifecycle.ExitCode`; listed in the guide."""


async def run_all(config_file: Path | None, console: Console) -> int:
    """Run the whole product until it is told to stop; returns the exit code.

    Failures of configuration and start are told in one line each: what, where, how to mend.
    """
    try:
        config = load_config(config_file, SECTIONS, os.environ)
    except ConfigError as error:
        for problem in error.problems:
            console.print(str(problem), style="red", markup=False)
        return CONFIG_FAILED
    configure_logging(config.section(LoggingConfig))
    for suspicion in config.suspicions:
        console.print(str(suspicion), style="yellow", markup=False)
    try:
        async with Application(config) as application:
            return int(await application.lifecycle.run())
    except VigieError as error:
        console.print(str(error), style="red", markup=False)
        if error.reason.remedy:
            console.print(f"  → {error.reason.remedy}", markup=False)
        return START_FAILED
    except StartError as error:
        console.print(str(error), style="red", markup=False)
        cause = error.__cause__
        if isinstance(cause, VigieError) and cause.reason.remedy:
            console.print(f"  → {cause.reason.remedy}", markup=False)
        return START_FAILED
