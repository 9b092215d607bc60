"""Generates docs/reference from the code, so that it cannot say anything else than the code.

    python tools/reference.py generate      write the pages that differ
    python tools/reference.py check         fail and name the pages that differ

Every page is a pure function of the checked-out source: no clock, no machine, no locale.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / "docs" / "reference"

# The command line speaks the language of its reader and wraps at the width of the terminal.
os.environ["VIGIE_LANGUAGE"] = "en"
os.environ.pop("COLUMNS", None)


def pages() -> Mapping[str, Callable[[], str]]:
    """File name -> what makes its text."""
    import reference_commands
    import reference_contracts
    import reference_tables

    return {
        "api.md": reference_contracts.api,
        "command-line.md": reference_commands.command_line,
        "configuration.md": reference_tables.configuration,
        "errors.md": reference_tables.errors,
        "evidence-manifest.schema.json": reference_tables.manifest_schema,
        "gap-causes.md": reference_contracts.gap_causes,
        "metrics.md": reference_tables.metrics,
        "permissions.md": reference_tables.permissions,
        "topics.md": reference_tables.topics,
    }


def differing(target: Path = TARGET) -> dict[str, str]:
    """Pages of ``target`` that are missing or differ: name -> the text they should have."""
    found: dict[str, str] = {}
    for name, make in pages().items():
        text = make()
        path = target / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            found[name] = text
    return found


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["generate", "check"])
    options = parser.parse_args()
    stale = differing()
    if options.verb == "generate":
        for name, text in stale.items():
            (TARGET / name).parent.mkdir(parents=True, exist_ok=True)
            (TARGET / name).write_text(text, encoding="utf-8")
            print(f"wrote docs/reference/{name}")
    elif stale:
        names = "\n  ".join(f"docs/reference/{name}" for name in stale)
        sys.exit(f"pages differ from the code (run `make docs`):\n  {names}")
    if not stale:
        print(f"{len(pages())} reference pages are up to date")


if __name__ == "__main__":
    main()
