"""Simulated cameras, for trying the product out."""

from pathlib import Path
from typing import Annotated, Any, cast

import typer

from vigie.cli.commands import command, new_app
from vigie.cli.language import tr

app = new_app("On this machine.", "Sur cette machine.")

_Config = Annotated[
    Path | None, typer.Option(help=tr("TOML or JSON; says everything.", "TOML ou JSON ; dit tout."))
]
_Count = Annotated[int, typer.Option(min=1, help=tr("How many.", "Combien."))]
_Host = Annotated[str, typer.Option(help=tr("Address.", "Adresse d'écoute."))]
_Port = Annotated[int, typer.Option(help=tr("RTSP port; 0: any.", "Port ; 0 : libre."))]
_PortPerCamera = Annotated[bool, typer.Option(help=tr("A port for each.", "Un port chacune."))]
_ControlPort = Annotated[
    int, typer.Option(help=tr("Of the control protocol; 0: any.", "De pilotage ; 0 : libre."))
]
_Codec = Annotated[str, typer.Option(help="h264, h265")]
_Pixels = Annotated[int, typer.Option(help=tr("Pixels.", "Pixels."))]
_FramesPerSecond = Annotated[
    str, typer.Option(help=tr("E.g. 25 or 30000/1001.", "P. ex. 25 ou 30000/1001."))
]
_LoopSeconds = Annotated[
    float, typer.Option(help=tr("Length of the footage.", "Durée des images."))
]
_GopSeconds = Annotated[float, typer.Option(help=tr("Between key frames.", "Entre images clés."))]
_BFrames = Annotated[int, typer.Option(help=tr("B-frames.", "Images B."))]
_BitRate = Annotated[int, typer.Option(help=tr("Bits a second.", "Bits/s."))]
_Source = Annotated[Path | None, typer.Option(help=tr("MP4 to serve instead.", "MP4 à servir."))]
_Username = Annotated[
    str, typer.Option(help=tr("What viewers must present.", "À présenter pour voir."))
]
_PasswordFile = Annotated[
    Path | None, typer.Option(help=tr("File with its password.", "Fichier du mot de passe."))
]
_CacheFolder = Annotated[
    Path, typer.Option(help=tr("Where footage is kept.", "Où les images restent."))
]
_Duration = Annotated[
    str, typer.Option("--for", help=tr("Stop after, e.g. 30s.", "Arrêter après, p. ex. 30s."))
]


@command(
    app,
    "simcam",
    "Simuler des caméras RTSP : images numérotées et datées, pannes à la demande ; jusqu'à Ctrl-C.",
)
def simcam(
    context: typer.Context,
    config: _Config = None,
    cameras: _Count = 8,
    host: _Host = "127.0.0.1",
    port: _Port = 8554,
    port_per_camera: _PortPerCamera = False,
    control_port: _ControlPort = 0,
    codec: _Codec = "h264",
    width: _Pixels = 640,
    height: _Pixels = 360,
    frames_per_second: _FramesPerSecond = "25",
    loop_seconds: _LoopSeconds = 10.0,
    gop_seconds: _GopSeconds = 1.0,
    b_frames: _BFrames = 0,
    bitrate_bps: _BitRate = 500_000,
    source: _Source = None,
    username: _Username = "",
    password_file: _PasswordFile = None,
    cache_folder: _CacheFolder = Path(".simcam-cache"),
    duration: _Duration = "",
) -> None:
    """Simulate RTSP cameras: numbered, dated frames, faults on demand; until Ctrl-C."""
    from vigie.cli.arguments import parse_duration
    from vigie.cli.passwords import read_password
    from vigie.simcam.command import SimCamOptions
    from vigie.simcam.marks import Codec

    if codec not in {"h264", "h265"}:
        raise typer.BadParameter(f"--codec {codec}: h264, h265")
    options = SimCamOptions(
        config=config, cameras=cameras, host=host, port=port, port_per_camera=port_per_camera,
        control_port=control_port, codec=cast("Codec", codec), width=width, height=height,
        frames_per_second=frames_per_second, loop_seconds=loop_seconds, gop_seconds=gop_seconds,
        b_frames=b_frames, bitrate_bps=bitrate_bps, source=source, username=username,
        password=read_password(username, password_file), cache_folder=cache_folder,
        duration_seconds=parse_duration(duration).total_seconds() if duration else None,
    )  # fmt: skip
    _run(context, options)


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
