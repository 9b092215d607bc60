"""A command that needs no server: versions."""

import json
import platform
from importlib.metadata import version as version_of

import typer

from vigie.cli.commands import command, new_app
from vigie.cli.globals import global_options_of

app = new_app("On this machine.", "Sur cette machine.")


@command(app, "version", "Versions du produit et de ses composants.")
def version(context: typer.Context) -> None:
    """Versions of the product and its parts."""
    found = {
        "vigie": version_of("vigie"),
        "python": platform.python_version(),
        "grpcio": version_of("grpcio"),
        "protobuf": version_of("protobuf"),
        "system": f"{platform.system()} {platform.machine()}",
    }
    if global_options_of(context).as_json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:<9} {value}")
