"""Runs a target as a process: configuration, logs, life; says in one line what hinders it."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from rich.console import Console

from vigie.app import SECTIONS, Application
from vigie.platform.config import Config, ConfigError, load_config
from vigie.platform.errors import VigieError
from vigie.platform.lifecycle import ExitCode, StartError
from vigie.platform.logging import LoggingConfig, configure_logging
from vigie.platform.reasons import (
    CONFIG_INVALID,
    DATA_DIRECTORY_IN_USE,
    DATABASE_UNAVAILABLE,
    EVENT_LOG_UNAVAILABLE,
    LISTEN_FAILED,
    STORE_UNAVAILABLE,
)
from vigie.storage import stands_alone
from vigie.targets import TARGETS

CONFIG_FAILED = 2
START_FAILED = 6
"""Exit codes, beside those of `vigie.platform.lifecycle.ExitCode`; listed in the guide."""

_MAY_PASS = frozenset(
    {
        DATA_DIRECTORY_IN_USE.name,
        DATABASE_UNAVAILABLE.name,
        EVENT_LOG_UNAVAILABLE.name,
        LISTEN_FAILED.name,
        STORE_UNAVAILABLE.name,
    }
)
"""Reasons for which starting again may help."""


async def run_target(
    name: str,
    config_file: Path | None,
    console: Console,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
) -> int:
    """Run one target until it is told to stop; returns the exit code.

    Failures of configuration and start are told in one line each: what, where, how to mend.

    Args:
        name: of the target, see `vigie.targets`.
        config_file: the configuration.
        console: where failures are told.
        overrides: section -> key -> value, from the command line.
    """
    try:
        config = _overridden(load_config(config_file, SECTIONS, os.environ), overrides or {})
    except ConfigError as error:
        for problem in error.problems:
            console.print(str(problem), style="red", markup=False, soft_wrap=True)
        return CONFIG_FAILED
    except ValidationError as error:
        for found in error.errors():
            console.print(
                f"{found['loc'][-1]}: {found['msg']}", style="red", markup=False, soft_wrap=True
            )
        return CONFIG_FAILED
    configure_logging(config.section(LoggingConfig))
    for suspicion in config.suspicions:
        console.print(str(suspicion), style="yellow", markup=False, soft_wrap=True)
    target = TARGETS[name]
    alone = not target.one_of_many and stands_alone(config)
    try:
        async with Application(config, target=target) as application:
            code = await application.lifecycle.run()
            crash = application.supervisor.error
    except VigieError as error:
        return _told(console, str(error), error, alone=alone)
    except StartError as error:
        return _told(console, str(error), error.__cause__, alone=alone)
    if code is ExitCode.CRASHED and crash is not None and isinstance(crash.__cause__, VigieError):
        return _told(console, str(crash.__cause__), crash.__cause__, alone=alone)
    return int(code)


def _overridden(config: Config, overrides: Mapping[str, Mapping[str, Any]]) -> Config:
    sections = dict(config.sections)
    for name, values in overrides.items():
        given = {key: value for key, value in values.items() if value is not None}
        # Validated like the rest: what stands on a command line is no better than a file.
        whole = {**dict(sections[name]), **given}
        sections[name] = type(sections[name]).model_validate(whole)
    return replace(config, sections=sections)


def _told(console: Console, line: str, cause: BaseException | None, *, alone: bool) -> int:
    """Say why, and what to do; the exit code."""
    console.print(line, style="red", markup=False, soft_wrap=True)
    if not isinstance(cause, VigieError):
        return START_FAILED
    if cause.reason.remedy:
        console.print(f"  → {cause.reason.remedy}", markup=False, soft_wrap=True)
    if cause.reason.name in _MAY_PASS:
        return START_FAILED
    if cause.reason is CONFIG_INVALID:
        # One process on embedded storage has always told everything by one code.
        return START_FAILED if alone else CONFIG_FAILED
    return START_FAILED if alone else int(ExitCode.MISCONFIGURED)
