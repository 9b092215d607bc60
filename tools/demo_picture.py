"""Runs the demonstration and keeps what it printed as a picture for the README.

python tools/demo_picture.py docs/demo.svg
"""

import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from vigie.demo.story import run_demo

WIDTH = 108


def main() -> None:
    """Run, and write the picture when every check held."""
    target = Path(sys.argv[1])
    console = Console(record=True, width=WIDTH, force_terminal=True, highlight=False)
    with tempfile.TemporaryDirectory(prefix="demo-") as name:
        folder = Path(name) / "demo-data"
        passed = asyncio.run(run_demo(folder, console, stay=False))
        text = console.export_svg(title="make demo", theme=MONOKAI)
        shown = text.replace(str(folder), "demo-data")
    if not passed:
        sys.exit("the demonstration did not pass; no picture written")
    # The theme names fonts to fetch from elsewhere; the reader's own monospaced font will do.
    head, _, rest = shown.partition("@font-face")
    while "@font-face" in rest:
        _, _, rest = rest.partition("@font-face")
    _, _, rest = rest.partition("}")
    target.write_text(head + rest, encoding="utf-8")
    print(f"{target}: {target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
