"""Every command of `vigie`, and the module that is loaded only when the command is used.

`vigie --help`, suggestions and the completion of names read this table alone: loading gRPC, the
generated messages and rich for all commands would take most of a second.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from inspect import cleandoc
from typing import Any, Final, TypeVar

import typer
from typer.core import TyperGroup
from typer.main import get_group

from vigie.cli.language import tr

Function = TypeVar("Function", bound=Callable[..., None])


@dataclass(frozen=True, slots=True)
class Entry:
    """One name after ``vigie``.

    Attributes:
        name: as it is typed.
        target: ``module:attribute``, the attribute being a `typer.Typer`, or the function of a
            single command.
        english: what it is for, one line.
        french: the same in French.
        single: the command is the one of this name in the application, not the whole group.
    """

    name: str
    target: str
    english: str
    french: str
    single: bool = False

    def load(self) -> Any:
        """The command itself, ready to be invoked.

        Raises:
            KeyError: the application has no command of this name.
        """
        module, _, attribute = self.target.partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            function, found = found, new_app("", "")
            command(found, self.name, self.french)(function)
        group = get_group(found)
        if self.single:
            return group.commands[self.name]
        group.name = self.name
        return group


@dataclass(frozen=True, slots=True)
class Section:
    """Commands that stand together in the help."""

    english: str
    french: str
    entries: tuple[Entry, ...]


_FOOTAGE: Final = "vigie.cli.footage:app"

SECTIONS: Final[tuple[Section, ...]] = (
    Section(
        "Footage", "Images",
        (
            Entry("timeline", _FOOTAGE, "What is recorded, what is missing and why.",
                  "Ce qui est enregistré, ce qui manque et pourquoi.", single=True),
            Entry("completeness", _FOOTAGE, "Expected, stored and missing time.",
                  "Durées attendues, présentes, manquantes.", single=True),
            Entry("segments", _FOOTAGE, "Stored segments of a camera, with digests.",
                  "Segments d'une caméra, avec leurs empreintes.", single=True),
            Entry("live", _FOOTAGE, "Watch a camera live.", "Voir une caméra en direct.",
                  single=True),
            Entry("play", _FOOTAGE, "Stream stored footage as it is stored.",
                  "Lire les images telles qu'enregistrées.", single=True),
            Entry("clip", _FOOTAGE, "Save an MP4 of exactly one window.",
                  "Enregistrer un MP4 d'une période exacte.", single=True),
            Entry("snapshot", _FOOTAGE, "Save the picture of an instant (JPEG).",
                  "Enregistrer l'image d'un instant (JPEG).", single=True),
            Entry("evidence", "vigie.cli.evidence:app", "Requests for evidence, their packages.",
                  "Demandes de preuve et leurs paquets."),
        ),
    ),
    Section(
        "Estate", "Parc",
        (
            Entry("camera", "vigie.cli.camera:app", "Cameras and their life.",
                  "Les caméras et leur vie."),
            Entry("authorisation", "vigie.cli.authorisation:app", "Prefectoral authorisations.",
                  "Autorisations préfectorales."),
            Entry("commune", "vigie.cli.places:commune_app", "Communes.", "Communes."),
            Entry("zone", "vigie.cli.places:zone_app", "Zones, the unit of permissions.",
                  "Zones, unité des permissions."),
            Entry("site", "vigie.cli.places:site_app", "Sites: masts, facades, crossroads.",
                  "Sites : mâts, façades, carrefours."),
            Entry("stream", "vigie.cli.stream:app", "Reception of the cameras now.",
                  "Réception des caméras en ce moment."),
        ),
    ),
    Section(
        "Accountability", "Responsabilité",
        (
            Entry("audit", "vigie.cli.audit:app", "Who accessed what, when and why.",
                  "Qui a accédé à quoi, quand et pourquoi."),
            Entry("access", "vigie.cli.access:app", "Rights: own, catalogue, people.",
                  "Droits : les siens, catalogue, personnes."),
            Entry("hold", "vigie.cli.retention:hold_app", "Holds that keep footage.",
                  "Séquestres qui conservent des images."),
            Entry("retention", "vigie.cli.retention:app", "What will be and was destroyed.",
                  "Ce qui sera et a été détruit."),
        ),
    ),
    Section(
        "This machine", "Cette machine",
        (
            Entry("up", "vigie.cli.server:up", "Run the whole product in one process.",
                  "Lancer tout le produit en un processus.", single=True),
            Entry("serve", "vigie.cli.server:serve", "Run one service, or all of them.",
                  "Lancer un service, ou tous.", single=True),
            Entry("demo", "vigie.cli.server:demo", "Show the main job with simulated cameras.",
                  "Montrer l'essentiel avec des caméras simulées.", single=True),
            Entry("simcam", "vigie.cli.simcam:app", "Simulate cameras (RTSP).",
                  "Simuler des caméras (RTSP).", single=True),
            Entry("token", "vigie.cli.token:app", "Tokens of the development issuer.",
                  "Jetons de l'émetteur de développement."),
            Entry("config", "vigie.cli.config:app", "Show and check the configuration.",
                  "Montrer et vérifier la configuration."),
            Entry("migrate", "vigie.cli.migrate:app", "Bring the PostgreSQL database up to date.",
                  "Mettre à jour la base PostgreSQL.", single=True),
            Entry("fsck", "vigie.cli.fsck:app", "Check that no footage is unaccounted for.",
                  "Vérifier qu'aucune image ne manque sans trace.", single=True),
            Entry("store", "vigie.cli.store:app", "The S3 store: make its bucket, try it.",
                  "Le stockage S3 : préparer le compartiment, l'essayer."),
            Entry("recording", "vigie.cli.recording:app", "Rebuild the index of the recordings.",
                  "Reconstruire l'index des enregistrements."),
            Entry("quarantine", "vigie.cli.quarantine:app",
                  "Events that could not be processed.", "Événements non traitables."),
            Entry("topics", "vigie.cli.topics:app",
                  "Topics of the event log at the Kafka brokers.",
                  "Sujets du journal d'événements chez les brokers Kafka."),
            Entry("restore", "vigie.cli.restore:app",
                  "After a restore: log and databases brought to agree.",
                  "Après une restauration : accorder journal et bases."),
            Entry("version", "vigie.cli.version:app", "Versions of the product and its parts.",
                  "Versions du produit et de ses composants.", single=True),
        ),
    ),
)  # fmt: skip


def entries() -> tuple[Entry, ...]:
    """Every entry, in the order of the help."""
    return tuple(entry for section in SECTIONS for entry in section.entries)


class LazyGroup(TyperGroup):
    """Knows all names at once and loads a command when it is the one that was typed."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Put the real command in the place of the entry of its name."""
        name, command, rest = super().resolve_command(ctx, args)
        for entry in entries():
            if entry.name == name:
                return name, entry.load(), rest
        return name, command, rest

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The names by section."""
        widest = max(len(entry.name) for entry in entries())
        for section in SECTIONS:
            with formatter.section(tr(section.english, section.french)):
                formatter.write_dl(
                    [
                        (f"{entry.name:<{widest}}", tr(entry.english, entry.french))
                        for entry in section.entries
                    ]
                )


def add_entries(app: typer.Typer) -> None:
    """Register every name; what stands behind it is loaded by `LazyGroup`."""
    for entry in entries():
        app.command(entry.name, help=tr(entry.english, entry.french))(_unloaded)


def new_app(english: str, french: str, *, epilog: str = "") -> typer.Typer:
    """The application of one group of commands; ``epilog`` shows examples, one a line."""
    return typer.Typer(
        cls=WholeGroup,
        no_args_is_help=True,
        rich_markup_mode=None,
        help=tr(english, french),
        epilog=f"\b\n{epilog}" if epilog else None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


class WholeGroup(TyperGroup):
    """Lists its commands with their whole first paragraph instead of cutting it."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Name and help of each."""
        rows = [
            (name, " ".join((each.help or "").partition("\n\n")[0].split()))
            for name, each in self.commands.items()
            if not each.hidden
        ]
        with formatter.section(tr("Commands", "Commandes")):
            formatter.write_dl(rows)


def command(app: typer.Typer, name: str, french: str) -> Callable[[Function], Function]:
    """Register a function; its docstring is the English help, ``french`` the French."""

    def register(function: Function) -> Function:
        english = cleandoc(function.__doc__ or "")
        app.command(name, help=tr(english, french))(function)
        return function

    return register


def examples(*lines: str) -> str:
    """The epilog of a group: examples as they are typed."""
    return "\n".join((tr("Examples:", "Exemples :"), *(f"  {line}" for line in lines)))


def load_all() -> dict[str, Any]:
    """Every command, loaded: for the reference page and for tests."""
    return {entry.name: entry.load() for entry in entries()}


def _unloaded() -> None:
    raise RuntimeError("LazyGroup did not load the command")
