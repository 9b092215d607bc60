"""Structured logs: event name plus key-values, as JSON or for a terminal.

A last defence against secrets stands in the chain: user information in URLs, bearer tokens and
values under names of secrets are removed, wherever a line comes from. Tracebacks are plain: no
local variables, which may hold credentials.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any, Final, Literal, TextIO

import structlog
from pydantic import Field

from vigie.platform.config.section import ConfigSection

REMOVED: Final = "[removed]"
_URL_USER = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)[^\s/@\"']*(?:@[^\s/@\"']*)*@")
_BEARER = re.compile(r"(?i)\b(?P<scheme>bearer|basic)\s+[a-z0-9._~+/=-]{8,}")
_SECRET_NAME = re.compile(
    r"(?i)(^|[_.-])(pass(word|phrase|wd)?|secret|token|authorization|credentials?)$"
)

LogFormat = Literal["json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]


class LoggingConfig(ConfigSection):
    """Section ``[logging]``."""

    format: LogFormat = Field(
        default="console", description="`json` (one object a line, for machines) or `console`."
    )
    level: LogLevel = Field(default="info", description="Least important level that is written.")


def scrub_text(text: str) -> str:
    """``text`` without user information in URLs and without bearer tokens."""
    text = _URL_USER.sub(rf"\g<scheme>{REMOVED}@", text)
    return _BEARER.sub(rf"\g<scheme> {REMOVED}", text)


def scrub(value: object, depth: int = 6) -> Any:
    """``value`` without secrets, down to ``depth`` levels of nesting (deeper: removed)."""
    if value is None or isinstance(value, int | float | bool):
        return value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    if depth == 0:
        return REMOVED
    if isinstance(value, Mapping):
        return {str(key): _scrub_named(str(key), item, depth - 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [scrub(item, depth - 1) for item in value]
    return scrub_text(str(value))


def _scrub_named(name: str, value: object, depth: int) -> Any:
    if _SECRET_NAME.search(name) and value not in (None, "", True, False):
        return REMOVED
    return scrub(value, depth)


def scrub_event(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> MutableMapping[str, Any]:
    """The structlog processor: the last one before rendering."""
    del logger, method
    return {key: _scrub_named(key, value, 6) for key, value in event.items()}


def configure_logging(config: LoggingConfig, *, stream: TextIO | None = None) -> None:
    """Set structlog and the standard library's logging up for this process.

    Args:
        config: form and level.
        stream: where lines go; standard error when not given.
    """
    stream = stream or sys.stderr
    level = getattr(logging, config.level.upper())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        scrub_event,
    ]
    structlog.configure(
        processors=[*shared, _renderer(config.format, stream)],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(config.format, stream),
            ],
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


def _renderer(form: LogFormat, stream: TextIO) -> Any:
    if form == "json":
        return structlog.processors.JSONRenderer(sort_keys=False)
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
