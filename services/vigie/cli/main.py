"""The command `vigie`."""

from pathlib import Path
from typing import Annotated, Final

import typer

from vigie.cli.commands import LazyGroup, add_entries
from vigie.cli.globals import GlobalOptions
from vigie.cli.language import tr

DEFAULT_ADDRESS: Final = "127.0.0.1:7443"

app = typer.Typer(
    name="vigie",
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help=tr(
        "Vigie: recording, evidence and accountable access for shared public-space cameras.",
        "Vigie : enregistrement, preuve et accès tracé pour caméras partagées de voie publique.",
    ),
    epilog=tr(
        "`vigie COMMAND --help` explains a command. Every answer also comes as JSON: "
        "`vigie --json COMMAND`.",
        "`vigie COMMANDE --help` explique une commande. Toute réponse existe aussi en JSON : "
        "`vigie --json COMMANDE`.",
    ),
)


_Address = Annotated[
    str,
    typer.Option(envvar="VIGIE_ADDRESS", help=tr("Address of the product.", "Adresse du produit.")),
]
_Token = Annotated[
    str,
    typer.Option(
        envvar="VIGIE_TOKEN",
        help=tr(
            "Bearer token. Others see a command line: rather set the variable or give a file.",
            "Jeton d'accès. Une ligne de commande se voit : préférer la variable ou un fichier.",
        ),
    ),
]
_TokenFile = Annotated[
    Path | None,
    typer.Option(envvar="VIGIE_TOKEN_FILE", help=tr("File with the token.", "Fichier du jeton.")),
]
_CaFile = Annotated[
    Path | None,
    typer.Option(
        envvar="VIGIE_CA_FILE",
        help=tr("Trust this authority and use TLS.", "Autorité reconnue ; active TLS."),
    ),
]
_CertificateFile = Annotated[
    Path | None, typer.Option(help=tr("Client certificate.", "Certificat client."))
]
_KeyFile = Annotated[
    Path | None, typer.Option(help=tr("Key of the client certificate.", "Clé du certificat."))
]
_AsJson = Annotated[
    bool, typer.Option("--json", help=tr("JSON lines instead of tables.", "Lignes JSON."))
]
_TimeoutSeconds = Annotated[
    float, typer.Option(help=tr("Deadline of a call.", "Délai d'un appel."), min=0.1)
]


@app.callback()
def global_options(
    context: typer.Context,
    address: _Address = DEFAULT_ADDRESS,
    token: _Token = "",
    token_file: _TokenFile = None,
    ca_file: _CaFile = None,
    certificate_file: _CertificateFile = None,
    key_file: _KeyFile = None,
    as_json: _AsJson = False,
    timeout_seconds: _TimeoutSeconds = 60.0,
) -> None:
    """Options of all commands."""
    context.obj = GlobalOptions(
        address=address,
        token=token,
        token_file=token_file,
        ca_file=ca_file,
        certificate_file=certificate_file,
        key_file=key_file,
        as_json=as_json,
        timeout_seconds=timeout_seconds,
    )


add_entries(app)
