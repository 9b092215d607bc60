"""The options before the command, kept as they are until a command needs a connection."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer


@dataclass
class GlobalOptions:
    """See `vigie.cli.main.global_options`.

    Attributes:
        session: made by `vigie.cli.session.session_of` when it is asked for first.
    """

    address: str
    token: str = field(repr=False)
    token_file: Path | None
    ca_file: Path | None
    certificate_file: Path | None
    key_file: Path | None
    as_json: bool
    timeout_seconds: float
    session: Any = None


def global_options_of(context: typer.Context) -> GlobalOptions:
    """What stands before the command."""
    found = context.find_object(GlobalOptions)
    if found is None:
        raise RuntimeError("the command is not part of the vigie command line")
    return found
