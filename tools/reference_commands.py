"""The reference page of the command line: the help of every command, in English."""

import inspect
from collections.abc import Iterator
from typing import Any, Final

from reference_markdown import page, table

_WIDTH: Final = 100

_INTRODUCTION: Final = """\
This page shows what `vigie COMMAND --help` prints. The help follows the language of its reader
(`VIGIE_LANGUAGE`, `LC_ALL`, `LC_MESSAGES`, `LANG`): French when it begins with `fr`, else English.
How the commands are used is in the [guide of the command line](../guide/command-line.md)."""


def command_line() -> str:
    """The page."""
    from typer.main import get_command

    from vigie.cli.commands import load_all
    from vigie.cli.main import app

    root = get_command(app)
    parts = [_INTRODUCTION, f"## Exit codes\n\n{_exit_codes()}"]
    parts.append(f"## vigie\n\n{_help(root, None, 'vigie')}")
    context = _context(root, None, "vigie")
    for name, command in sorted(load_all().items()):
        for path, text in _walk(command, context, name):
            parts.append(f"{'#' * min(1 + len(path.split()), 4)} {path}\n\n{text}")
    return page("Command line", *parts)


def _walk(command: Any, parent: Any, name: str) -> Iterator[tuple[str, str]]:
    context = _context(command, parent, name)
    yield context.command_path, _help(command, parent, name)
    for inner in sorted(getattr(command, "commands", {})):
        yield from _walk(command.commands[inner], context, inner)


def _context(command: Any, parent: Any, name: str) -> Any:
    settings = dict(command.context_settings)
    settings |= {"terminal_width": _WIDTH, "max_content_width": _WIDTH}
    return command.context_class(command, info_name=name, parent=parent, **settings)


def _help(command: Any, parent: Any, name: str) -> str:
    text = command.get_help(_context(command, parent, name))
    lines = [line.rstrip() for line in text.strip("\n").splitlines()]
    return "\n".join(["```text", *lines, "```"])


def _exit_codes() -> str:
    """Members of `Exit` with the docstrings that stand below them in the source."""
    import ast

    from vigie.cli import exits

    tree = ast.parse(inspect.getsource(exits.Exit))
    (body,) = tree.body
    assert isinstance(body, ast.ClassDef)
    meanings: dict[str, str] = {"OK": "Done."}
    for item, after in zip(body.body, body.body[1:], strict=False):
        if isinstance(item, ast.Assign) and isinstance(after, ast.Expr):
            target = item.targets[0]
            assert isinstance(target, ast.Name)
            assert isinstance(after.value, ast.Constant)
            meanings[target.id] = str(after.value.value)
    rows = [(str(each.value), each.name, meanings.get(each.name, "")) for each in exits.Exit]
    return table(("code", "name", "meaning"), rows)
