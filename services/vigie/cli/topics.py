"""The topics of the event log at the brokers: as declared, as they are, made and changed."""

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from vigie.cli import options as opt
from vigie.cli.commands import command, examples, new_app
from vigie.cli.exits import Exit
from vigie.cli.installation import telling
from vigie.cli.language import tr
from vigie.cli.output import show_table
from vigie.cli.session import Session, session_of
from vigie.platform.clock import SystemMonotonicClock, SystemWallClock
from vigie.platform.config import ConfigSection, load_config
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.installation import (
    INSTALLATION_TOPIC,
    Identity,
    compare,
    identify,
    marked,
)
from vigie.platform.eventlog.kafka.metrics import KafkaMetrics
from vigie.platform.eventlog.kafka.publisher import Publisher
from vigie.platform.eventlog.kafka.settings import KafkaConfig
from vigie.platform.eventlog.kafka.topicfile import render
from vigie.platform.eventlog.kafka.topics import Difference, TopicAdmin
from vigie.platform.eventlog.port import TopicSpec
from vigie.platform.metrics import MetricsRegistry
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.platform.reasons import CONFIG_INVALID

app = new_app(
    "Topics of the event log at the Kafka brokers of section [kafka]. A user with rights on the "
    "cluster applies; the services only check.",
    "Sujets du journal d'événements chez les brokers Kafka de la section [kafka]. Un compte ayant "
    "les droits sur le cluster applique ; les services ne font que vérifier.",
    epilog=examples(
        "vigie topics diff --config vigie.toml",
        "vigie topics apply --config admin.toml",
        "vigie topics show > infra/kafka/topics.yaml",
    ),
)

Bootstrap = Annotated[
    list[str] | None,
    typer.Option(
        help=tr("Broker instead of those configured.", "Broker, à la place de la configuration.")
    ),
]
_OTHER: Final = "—"


@command(app, "show", "Les sujets tels que déclarés (YAML).")
def show(context: typer.Context, config: opt.ConfigFile = None) -> None:
    """The topics as declared (YAML)."""
    session = session_of(context)
    with telling():
        settings, specs, _ = _read(config, None)
    if session.as_json:
        for spec in specs:
            session.show_json(
                {
                    "name": spec.name,
                    "why": spec.why,
                    "partitions": spec.partitions,
                    "replication": settings.replication,
                    "min_in_sync": settings.min_in_sync,
                    "compacted": spec.compacted,
                    "retention_days": None if spec.compacted else spec.retention_days,
                }
            )
        return
    print(render(specs, settings), end="")


@command(app, "diff", "Ce qui diffère, et ce que `apply` en ferait.")
def diff(
    context: typer.Context, config: opt.ConfigFile = None, bootstrap: Bootstrap = None
) -> None:
    """What differs, and what `apply` would make of it."""
    session = session_of(context)
    with telling():
        settings, specs, _ = _read(config, bootstrap)
        found = asyncio.run(TopicAdmin(_clients(settings)).differences(specs))
    _tell(session, found, len(specs))


@command(app, "check", "Vérifier ; code 7 si un sujet n'est pas tel que déclaré.")
def check(
    context: typer.Context, config: opt.ConfigFile = None, bootstrap: Bootstrap = None
) -> None:
    """Check; exit code 7 when a topic is not as declared."""
    session = session_of(context)
    with telling():
        settings, specs, name = _read(config, bootstrap)
        found = asyncio.run(_check(_clients(settings), specs, name))
    _tell(session, found, len(specs))
    if found:
        raise typer.Exit(Exit.CHECK_FAILED)


@command(app, "apply", "Créer et corriger les sujets ; code 7 s'il reste des différences.")
def apply(
    context: typer.Context,
    config: opt.ConfigFile = None,
    bootstrap: Bootstrap = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            help=tr(
                "Also what makes the brokers delete events (shorter retention).",
                "Aussi ce qui fait effacer des événements (conservation plus courte).",
            ),
        ),
    ] = False,
) -> None:
    """Make and mend the topics; exit code 7 when differences are left."""
    session = session_of(context)
    with telling():
        settings, specs, name = _read(config, bootstrap)
        done, left = asyncio.run(_apply(_clients(settings), specs, name, also_deleting=yes))
    _tell_done(session, done)
    _tell(session, left, len(specs))
    if left:
        raise typer.Exit(Exit.CHECK_FAILED)


async def _check(clients: KafkaClients, specs: Sequence[TopicSpec], name: str) -> list[Difference]:
    """What differs; raises EVENT_LOG_OF_ANOTHER where they are another installation's."""
    found = await TopicAdmin(clients).differences(specs)
    mark = clients.config.topic_prefix + INSTALLATION_TOPIC.name
    if not any(one.missing and one.topic == mark for one in found):
        compare(clients, await marked(clients) or name, (name,))
    return found


async def _apply(
    clients: KafkaClients, specs: Sequence[TopicSpec], name: str, *, also_deleting: bool
) -> tuple[list[Difference], list[Difference]]:
    """Mend what may be mended; a topic with a dangerous difference is left alone whole.

    Nothing of another installation is touched: whose they are is asked, or marked, first.

    Returns:
        What was mended, and what is left.
    """
    admin, clock = TopicAdmin(clients), SystemWallClock()
    missing = [one for one in await admin.differences([INSTALLATION_TOPIC]) if one.missing]
    await admin.apply([INSTALLATION_TOPIC], missing)
    publisher = Publisher(clients, SystemMonotonicClock(), KafkaMetrics(MetricsRegistry(), ""))
    try:
        await identify(clients, publisher, Identity(name), clock)
    finally:
        await publisher.close()
    found = await admin.differences(specs)
    kept = {one.topic for one in found if one.deletes and not also_deleting}
    mended = [one for one in found if one.topic not in kept]
    await admin.apply(specs, mended)
    left = await admin.differences(specs)
    return [one for one in (*missing, *mended) if one not in left], left


def _read(
    config_file: Path | None, bootstrap: Sequence[str] | None
) -> tuple[KafkaConfig, Sequence[TopicSpec], str]:
    """Section ``[kafka]``, the topics, the name of the installation ("": none is given)."""
    from vigie.app import SECTIONS
    from vigie.topics import BROKER_TOPICS

    sections: dict[str, type[ConfigSection]] = {**SECTIONS, "kafka": KafkaConfig}
    config = load_config(config_file, sections, os.environ)
    settings = config.section(KafkaConfig)
    if bootstrap:
        settings = settings.model_copy(update={"bootstrap": list(bootstrap)})
    return settings, BROKER_TOPICS, config.section(S3Config).installation


def _clients(settings: KafkaConfig) -> KafkaClients:
    if not settings.bootstrap:
        raise VigieError(
            CONFIG_INVALID,
            "no brokers are configured: the event log of this installation is the embedded one",
            field="kafka.bootstrap",
        )
    return KafkaClients(settings, "vigie-topics")


def _tell_done(session: Session, done: Sequence[Difference]) -> None:
    """Say on the side what was made and changed."""
    for one in done:
        if one.missing:
            line = tr(f"made: {one.topic}", f"créé : {one.topic}")
        else:
            what = f"{one.topic}, {one.what}: {one.found or _OTHER} → {one.wanted}"
            line = tr(f"changed: {what}", f"modifié : {what}")
        session.errors.print(line, markup=False, style="dim", soft_wrap=True)


def _tell(session: Session, found: Sequence[Difference], count: int) -> None:
    if session.as_json:
        for one in found:
            session.show_json(
                {
                    "topic": one.topic,
                    "what": one.what,
                    "found": one.found,
                    "wanted": one.wanted,
                    "can_be_applied": one.can_be_applied,
                    "deletes": one.deletes,
                }
            )
        return
    if not found:
        session.console.print("[bold green]✓[/] ", end="")
        session.console.print(
            tr(f"{count} topics are as declared", f"{count} sujets sont tels que déclarés")
        )
        return
    columns = (
        tr("topic", "sujet"), tr("what", "propriété"), tr("found", "constaté"),
        tr("declared", "déclaré"), tr("`apply`", "`apply`"),
    )  # fmt: skip
    rows = [(one.topic, one.what, one.found or _OTHER, one.wanted, _remedy(one)) for one in found]
    show_table(session.console, columns, rows)


def _remedy(one: Difference) -> str:
    if one.missing:
        return tr("makes it", "le crée")
    if not one.can_be_applied:
        return tr("cannot: needs a plan", "impossible : à planifier")
    if one.deletes:
        return tr("only with --yes: deletes events", "seulement avec --yes : efface")
    return tr("changes it", "le corrige")
