"""Commands that need no server: simulated cameras, versions."""

import json
import platform
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any

import typer

from vigie.cli.commands import command, new_app
from vigie.cli.globals import global_options_of
from vigie.cli.language import tr

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


@command(
    app,
    "simcam",
    "Simuler des caméras RTSP : images numérotées et datées, pannes à la demande ; jusqu'à Ctrl-C.",
)
def simcam(
    context: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option(help=tr("TOML or JSON; says everything.", "TOML ou JSON ; dit tout.")),
    ] = None,
    cameras: Annotated[int, typer.Option(min=1, help=tr("How many.", "Combien."))] = 8,
    host: Annotated[str, typer.Option(help=tr("Address.", "Adresse d'écoute."))] = "127.0.0.1",
    port: Annotated[int, typer.Option(help=tr("RTSP port; 0: any.", "Port ; 0 : libre."))] = 8554,
    port_per_camera: Annotated[
        bool, typer.Option(help=tr("A port for each.", "Un port chacune."))
    ] = False,
    control_port: Annotated[
        int, typer.Option(help=tr("Of the control protocol; 0: any.", "De pilotage ; 0 : libre."))
    ] = 0,
    codec: Annotated[str, typer.Option(help="h264, h265")] = "h264",
    width: Annotated[int, typer.Option(help=tr("Pixels.", "Pixels."))] = 640,
    height: Annotated[int, typer.Option(help=tr("Pixels.", "Pixels."))] = 360,
    frames_per_second: Annotated[
        str, typer.Option(help=tr("E.g. 25 or 30000/1001.", "P. ex. 25 ou 30000/1001."))
    ] = "25",
    loop_seconds: Annotated[
        float, typer.Option(help=tr("Length of the footage.", "Durée des images."))
    ] = 10.0,
    gop_seconds: Annotated[
        float, typer.Option(help=tr("Between key frames.", "Entre images clés."))
    ] = 1.0,
    b_frames: Annotated[int, typer.Option(help=tr("B-frames.", "Images B."))] = 0,
    bitrate_bps: Annotated[int, typer.Option(help=tr("Bits a second.", "Bits/s."))] = 500_000,
    source: Annotated[
        Path | None, typer.Option(help=tr("MP4 to serve instead.", "MP4 à servir."))
    ] = None,
    username: Annotated[
        str, typer.Option(help=tr("What viewers must present.", "À présenter pour voir."))
    ] = "",
    password_file: Annotated[
        Path | None, typer.Option(help=tr("File with its password.", "Fichier du mot de passe."))
    ] = None,
    cache_folder: Annotated[
        Path, typer.Option(help=tr("Where footage is kept.", "Où les images restent."))
    ] = Path(".simcam-cache"),
    duration: Annotated[
        str, typer.Option("--for", help=tr("Stop after, e.g. 30s.", "Arrêter après, p. ex. 30s."))
    ] = "",
) -> None:
    """Simulate RTSP cameras: numbered, dated frames, faults on demand; until Ctrl-C."""
    from vigie.cli.arguments import parse_duration
    from vigie.cli.passwords import read_password
    from vigie.simcam.command import SimCamOptions

    if codec not in {"h264", "h265"}:
        raise typer.BadParameter(f"--codec {codec}: h264, h265")
    options = SimCamOptions(
        config=config, cameras=cameras, host=host, port=port, port_per_camera=port_per_camera,
        control_port=control_port, codec=_codec(codec), width=width, height=height,
        frames_per_second=frames_per_second, loop_seconds=loop_seconds, gop_seconds=gop_seconds,
        b_frames=b_frames, bitrate_bps=bitrate_bps, source=source, username=username,
        password=read_password(username, password_file), cache_folder=cache_folder,
        duration_seconds=parse_duration(duration).total_seconds() if duration else None,
    )  # fmt: skip
    _run(context, options)


def _codec(word: str) -> Any:
    return word


def _run(context: typer.Context, options: Any) -> None:
    import asyncio

    from vigie.cli.output import show_table
    from vigie.cli.session import fail, session_of
    from vigie.simcam.command import ready_line, run_simcam
    from vigie.simcam.config import ConfigError
    from vigie.simcam.footage import FootageError

    session = session_of(context)

    def ready(server: Any) -> None:
        if session.as_json:
            print(ready_line(server), flush=True)
            return
        rows = [(camera, server.url(camera)) for camera in server.cameras]
        show_table(session.console, (tr("camera", "caméra"), "URL"), rows)
        if server.config.control_port is not None:
            control = tr("control port", "port de pilotage")
            session.console.print(f"{control} {server.control_port}")

    try:
        asyncio.run(run_simcam(options, ready))
    except (ConfigError, FootageError, OSError) as error:
        raise fail(str(error)) from error
