"""Events that a consumer could not process: looked at, tried again, or dropped, on record."""

import asyncio
from collections.abc import Sequence
from typing import Annotated, Any, Final

import typer

from vigie.cli import options as opt
from vigie.cli.commands import command, examples, new_app
from vigie.cli.installation import (
    RECORDING,
    Opened,
    looked_at,
    opened,
    read_config,
    telling,
)
from vigie.cli.language import tr
from vigie.cli.onrecord import actor, put_on_record
from vigie.cli.output import local_time, plain, show_fields, show_table
from vigie.cli.session import Session, as_dict, session_of
from vigie.common.v1.events_pb2 import QuarantineEvent, QuarantineOutcome
from vigie.platform.clock import from_us
from vigie.platform.config import Config
from vigie.platform.eventlog import (
    QUARANTINE_TOPIC,
    Quarantine,
    QuarantinedEvent,
    Unprocessable,
    parse_event,
)

app = new_app(
    "Events that could not be processed. `replay` and `discard` need the product stopped and are "
    "put on record.",
    "Événements non traitables. `replay` et `discard` demandent le produit arrêté et sont "
    "consignés.",
    epilog=examples(
        "vigie quarantine list",
        "vigie quarantine show 3",
        "vigie quarantine history --open",
        "vigie quarantine replay 3 --reason 'corrigé en 1.2'",
    ),
)

Number = Annotated[int, typer.Argument(min=1, help=tr("Number in `list`.", "Numéro de `list`."))]
Context = Annotated[
    str,
    typer.Option(
        "--context",
        help=tr(
            "recording or audit, where their databases differ.",
            "recording ou audit, si leurs bases diffèrent.",
        ),
    ),
]
Why = Annotated[str, typer.Option("--reason", help=tr("Why; kept on record.", "Motif ; consigné."))]
CONSUMING: Final = (RECORDING, "audit")
"""Contexts that consume, and so have a quarantine."""
_PAGE: Final = 500


@command(app, "list", "Lister les événements en quarantaine, les plus anciens d'abord.")
def list_events(
    context: typer.Context,
    topic: Annotated[str, typer.Option(help=tr("Only this topic.", "Ce sujet."))] = "",
    group: Annotated[str, typer.Option(help=tr("Only this consumer.", "Ce lecteur."))] = "",
    of: Context = RECORDING,
    config: opt.ConfigFile = None,
    data: opt.Data = None,
) -> None:
    """List the events in quarantine, oldest first; also while the product runs."""
    session = session_of(context)
    with telling():
        settings = read_config(config, data)
        found = asyncio.run(_list(settings, _known(of), topic or None, group or None))
    if session.as_json:
        for item in found:
            session.show_json(_document(item))
        return
    if not found:
        session.errors.print(tr("nothing in quarantine", "rien en quarantaine"), style="dim")
        return
    columns = (
        tr("number", "numéro"), tr("since", "depuis"), tr("topic", "sujet"),
        tr("consumer", "lecteur"), tr("key", "clé"), tr("reason", "motif"), tr("replay", "rejeu"),
    )  # fmt: skip
    rows = [
        (
            str(item.number),
            local_time(from_us(item.quarantined_us)),
            item.stored.topic,
            item.group,
            item.stored.event.key,
            item.reason,
            tr("asked for", "demandé") if item.replay_requested else "",
        )
        for item in found
    ]
    show_table(session.console, columns, rows)


def _quarantine(installation: Opened) -> Quarantine:
    return Quarantine(installation.database, installation.clock, installation.event_log)


def _known(context: str) -> str:
    if context not in CONSUMING:
        raise typer.BadParameter(f"--context {context}: {', '.join(CONSUMING)}")
    return context


async def _list(
    config: Config, context: str, topic: str | None, group: str | None
) -> Sequence[QuarantinedEvent]:
    found: list[QuarantinedEvent] = []
    async with looked_at(config, context) as installation:
        quarantine = _quarantine(installation)
        while True:
            after = found[-1].number if found else 0
            page = await quarantine.list(topic=topic, group=group, after=after, limit=_PAGE)
            found += page
            if len(page) < _PAGE:
                return found


@command(app, "show", "Montrer un événement en quarantaine, avec son contenu.")
def show(
    context: typer.Context,
    number: Number,
    of: Context = RECORDING,
    config: opt.ConfigFile = None,
    data: opt.Data = None,
) -> None:
    """Show one event in quarantine with its content."""
    session = session_of(context)

    async def get() -> QuarantinedEvent:
        async with looked_at(read_config(config, data), _known(of)) as installation:
            return await _quarantine(installation).get(number)

    with telling():
        item = asyncio.run(get())
    if session.as_json:
        session.show_json(_document(item))
        return
    event = item.stored.event
    show_fields(
        session.console,
        f"{item.number}  {item.reason}",
        (
            (tr("detail", "détail"), item.detail),
            (tr("since", "depuis"), local_time(from_us(item.quarantined_us), milliseconds=True)),
            (tr("topic", "sujet"), f"{item.stored.topic} @ {item.stored.position.offset}"),
            (tr("consumer", "lecteur"), item.group),
            (tr("key", "clé"), event.key),
            ("type", event.type),
            (tr("happened", "survenu"), local_time(from_us(event.time_us), milliseconds=True)),
            ("id", event.id),
            ("source", event.source),
            (tr("case", "dossier"), item.case_id or ""),
            (tr("replay", "rejeu"), _asked(item)),
        ),
    )
    content = _content(item)
    session.console.print(plain(str(content)), markup=False, soft_wrap=True)


def _asked(item: QuarantinedEvent) -> str:
    if not item.replay_requested:
        return ""
    return tr("asked for", "demandé") + f" ({item.asked_by}: {item.asked_why})"


@command(app, "history", "Tout ce que les lecteurs ont mis en quarantaine, et ce qu'il en advint.")
def history(
    context: typer.Context,
    case: Annotated[str, typer.Option(help=tr("Only this case.", "Ce dossier."))] = "",
    still_open: Annotated[
        bool, typer.Option("--open", help=tr("Only open cases.", "Dossiers ouverts."))
    ] = False,
    of: Context = RECORDING,
    config: opt.ConfigFile = None,
    data: opt.Data = None,
) -> None:
    """Tell what the consumers of all services have put away, and what became of it.

    Read from topic `quarantine`, which keeps it for three years; also while the product runs.
    """
    session = session_of(context)
    with telling():
        cases = asyncio.run(_history(read_config(config, data), _known(of)))
    chosen = [
        word
        for told in cases.values()
        if (not case or told[0].case_id == case)
        and not (still_open and any(word.HasField("resolved") for word in told))
        for word in told
    ]
    if session.as_json:
        for word in chosen:
            session.show_json(as_dict(word))
        return
    columns = (
        tr("case", "dossier"), tr("when", "quand"), tr("consumer", "lecteur"),
        tr("record", "enregistrement"), tr("what", "quoi"), tr("why", "motif"),
    )  # fmt: skip
    rows = [
        (
            word.case_id,
            local_time(word.time),
            word.consumer,
            f"{word.topic} {word.partition}/{word.offset}",
            *_said(word),
        )
        for word in chosen
    ]
    show_table(session.console, columns, rows)


async def _history(config: Config, context: str) -> dict[str, list[QuarantineEvent]]:
    """Case -> its words in order, each once; oldest case first."""
    cases: dict[str, dict[str, QuarantineEvent]] = {}
    async with looked_at(config, context) as installation:
        async for stored in installation.event_log.read(QUARANTINE_TOPIC.name):
            try:
                word = parse_event(stored, QuarantineEvent)
            except Unprocessable:
                continue
            cases.setdefault(word.case_id, {})[stored.event.id] = word
    return {case: list(told.values()) for case, told in sorted(cases.items())}


def _said(word: QuarantineEvent) -> tuple[str, str]:
    """What a word says, and why."""
    match word.WhichOneof("word"):
        case "quarantined":
            return tr("put away", "mis de côté"), word.quarantined.reason
        case "replay_requested":
            asked = word.replay_requested
            return tr("replay asked for", "rejeu demandé"), f"{asked.actor}: {asked.purpose}"
        case "replay_failed":
            return tr("replay failed", "rejeu échoué"), word.replay_failed.reason
        case "resolved":
            done = word.resolved
            outcome = QuarantineOutcome.Name(done.outcome).removeprefix("QUARANTINE_OUTCOME_")
            return outcome.lower(), f"{done.actor}: {done.purpose}" if done.actor else ""
        case _:
            return "", ""


@command(app, "replay", "Demander que l'événement soit traité à nouveau au prochain démarrage.")
def replay(
    context: typer.Context,
    number: Number,
    reason: Why,
    of: Context = RECORDING,
    config: opt.ConfigFile = None,
    data: opt.Data = None,
) -> None:
    """Ask for the event to be processed again at the next start.

    Its order relative to later events of its key is lost; one that fails again stays.
    """
    session = session_of(context)
    with telling():
        asyncio.run(_change(read_config(config, data), _known(of), number, "replay", reason))
    _done(session, number, tr("will be tried again", "sera traité à nouveau"))


@command(app, "discard", "Jeter un événement pour toujours.")
def discard(
    context: typer.Context,
    number: Number,
    reason: Why,
    yes: Annotated[bool, typer.Option("--yes", help=tr("Do not ask.", "Ne pas demander."))] = False,
    of: Context = RECORDING,
    config: opt.ConfigFile = None,
    data: opt.Data = None,
) -> None:
    """Drop an event for good."""
    session = session_of(context)
    if not yes:
        typer.confirm(
            tr(f"Drop event {number} for good?", f"Jeter l'événement {number} pour toujours ?"),
            abort=True, err=True,
        )  # fmt: skip
    with telling():
        asyncio.run(_change(read_config(config, data), _known(of), number, "discard", reason))
    _done(session, number, tr("dropped", "jeté"))


async def _change(config: Config, context: str, number: int, action: str, reason: str) -> None:
    """Put the action on record, then do it: never the other way round."""
    async with opened(config, context) as installation:
        quarantine = _quarantine(installation)
        item = await quarantine.get(number)
        name = f"quarantine/{item.stored.topic}/{item.group}/{item.stored.position.offset}"
        erasure = action == "discard"
        await put_on_record(installation, f"quarantine/{action}", [name], reason, erasure=erasure)
        if action == "replay":
            await quarantine.request_replay(number, actor=actor(), purpose=reason)
        else:
            await quarantine.discard(number, actor=actor(), purpose=reason)


def _done(session: Session, number: int, what: str) -> None:
    if session.as_json:
        session.show_json({"number": number, "outcome": what})
    else:
        session.console.print(f"{number} {what}", markup=False)


def _document(item: QuarantinedEvent) -> dict[str, Any]:
    event = item.stored.event
    return {
        "number": item.number,
        "case": item.case_id,
        "group": item.group,
        "topic": item.stored.topic,
        "partition": item.stored.position.partition,
        "offset": item.stored.position.offset,
        "key": event.key,
        "type": event.type,
        "id": event.id,
        "source": event.source,
        "time_us": event.time_us,
        "reason": item.reason,
        "detail": item.detail,
        "quarantined_us": item.quarantined_us,
        "replay_requested": item.replay_requested,
        "content": _content(item),
    }


def _content(item: QuarantinedEvent) -> Any:
    """The event read by its type; hexadecimal where that cannot be done."""
    from google.protobuf.message import DecodeError
    from google.protobuf.symbol_database import Default

    from vigie.audit.v1 import events_pb2 as _audit
    from vigie.evidence.v1 import events_pb2 as _evidence
    from vigie.ingest.v1 import events_pb2 as _ingest
    from vigie.recording.v1 import events_pb2 as _recording
    from vigie.registry.v1 import events_pb2 as _registry

    del _audit, _evidence, _ingest, _recording, _registry  # imported so that their types are known
    value = item.stored.event.value
    if value is None:
        return None
    try:
        message = Default().GetSymbol(item.stored.event.type)()
        message.ParseFromString(value)
    except (KeyError, DecodeError):
        return value.hex()
    return as_dict(message)
