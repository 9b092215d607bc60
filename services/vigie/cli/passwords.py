"""Passwords of cameras: from a file, the environment or a hidden prompt, never from arguments.

Every user of a machine can read the arguments of every process on it.
"""

import os
import sys
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

import typer

from vigie.cli.language import tr

PASSWORD_VARIABLE: Final = "VIGIE_CAMERA_PASSWORD"  # noqa: S105 - the name of a variable

Username = Annotated[
    str, typer.Option(help=tr("User name at the camera.", "Utilisateur auprès de la caméra."))
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        help=tr(
            f"File with the camera's password, - for standard input; else {PASSWORD_VARIABLE}, "
            "else it is asked for.",
            f"Fichier du mot de passe de la caméra, - pour l'entrée standard ; sinon "
            f"{PASSWORD_VARIABLE}, sinon il est demandé.",
        )
    ),
]


def read_password(username: str, password_file: Path | None) -> str:
    """The password that goes with ``username``; nothing is asked when there is no user name.

    Raises:
        typer.BadParameter: the file cannot be read, or nobody is there to be asked.
    """
    if not username:
        if password_file is not None:
            raise typer.BadParameter(
                tr("--password-file goes with --username", "--password-file va avec --username")
            )
        return ""
    if password_file is not None:
        return _from_file(password_file)
    if PASSWORD_VARIABLE in os.environ:
        return os.environ[PASSWORD_VARIABLE]
    if not sys.stdin.isatty():
        raise typer.BadParameter(
            tr(f"the password of {username}: give --password-file or {PASSWORD_VARIABLE}",
               f"le mot de passe de {username} : donner --password-file ou {PASSWORD_VARIABLE}")
        )  # fmt: skip
    asked: str = typer.prompt(
        tr(f"Password of {username}", f"Mot de passe de {username}"), hide_input=True, err=True
    )
    return asked


def without_password(uri: str) -> str:
    """``uri``, which must not carry a password.

    Raises:
        typer.BadParameter: it does; the message does not repeat it.
    """
    try:
        carries = urlsplit(uri).password is not None
    except ValueError:
        carries = "@" in uri
    if carries:
        raise typer.BadParameter(
            tr("a password does not belong on a command line, where others see it: write the "
               "address without it and give --username with --password-file",
               "un mot de passe n'a pas sa place sur une ligne de commande, où d'autres le "
               "voient : écrire l'adresse sans lui et donner --username avec --password-file")
        )  # fmt: skip
    return uri


def _from_file(path: Path) -> str:
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise typer.BadParameter(f"--password-file {path}: {error}") from error
    return text.removesuffix("\n").removesuffix("\r")
