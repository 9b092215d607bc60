"""The command `vigie`."""

from pathlib import Path
from typing import Annotated

import typer

from vigie.cli import evidence, footage
from vigie.cli.language import tr
from vigie.cli.session import DEFAULT_ADDRESS, Session, read_token
from vigie.platform.grpc.client import ClientTls

app = typer.Typer(
    name="vigie",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help=tr(
        "Vigie: recording, evidence and accountable access for shared public-space cameras.",
        "Vigie : enregistrement, preuve et accès tracé pour caméras partagées de voie publique.",
    ),
)


@app.callback()
def global_options(
    context: typer.Context,
    address: Annotated[
        str,
        typer.Option(envvar="VIGIE_ADDRESS", help=tr("Address of the product.", "Adresse.")),
    ] = DEFAULT_ADDRESS,
    token: Annotated[
        str,
        typer.Option(
            envvar="VIGIE_TOKEN", show_envvar=True, help=tr("Bearer token.", "Jeton d'accès.")
        ),
    ] = "",
    token_file: Annotated[
        Path | None,
        typer.Option(envvar="VIGIE_TOKEN_FILE", help=tr("File with the token.", "Fichier.")),
    ] = None,
    ca_file: Annotated[
        Path | None,
        typer.Option(
            envvar="VIGIE_CA_FILE",
            help=tr("Trust this authority and use TLS.", "Autorité reconnue ; active TLS."),
        ),
    ] = None,
    certificate_file: Annotated[
        Path | None, typer.Option(help=tr("Client certificate.", "Certificat client."))
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help=tr("Key of the client certificate.", "Clé du certificat."))
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help=tr("JSON lines instead of tables.", "Lignes JSON."))
    ] = False,
    timeout_seconds: Annotated[
        float, typer.Option(help=tr("Deadline of a call.", "Délai d'un appel."), min=0.1)
    ] = 60.0,
) -> None:
    """Options of all commands."""
    tls = ClientTls(ca_file, certificate_file, key_file) if ca_file else None
    context.obj = Session(
        address=address,
        token=read_token(token, token_file),
        tls=tls,
        as_json=as_json,
        timeout_seconds=timeout_seconds,
    )


footage.register(app)
app.add_typer(evidence.app, name="evidence")
