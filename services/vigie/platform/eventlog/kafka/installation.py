"""Whose log this is: a mark in a topic of its own, and what this machine remembers of it.

The first mark in the topic counts, whatever comes after it. Each mark has a key of its own, so that
compaction removes none; processes that start at once and find no mark all write one, read again,
and agree on the first.
"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog
from google.protobuf.wrappers_pb2 import StringValue

from vigie.platform.clock import WallClock
from vigie.platform.errors import VigieError
from vigie.platform.eventlog.events import Unprocessable, make_event, parse_event
from vigie.platform.eventlog.kafka.clients import KafkaClients
from vigie.platform.eventlog.kafka.failures import unavailable
from vigie.platform.eventlog.kafka.publisher import Publisher
from vigie.platform.eventlog.kafka.reading import Reading, to_the_end
from vigie.platform.eventlog.port import TopicSpec
from vigie.platform.identifiers import IdentifierSource
from vigie.platform.ownership import RememberedOwners
from vigie.platform.reasons import EVENT_LOG_OF_ANOTHER

log = structlog.get_logger(__name__)
_MEMORY: Final = "kafka-installation.json"
INSTALLATION_TOPIC: Final = TopicSpec(
    "installation",
    compacted=True,
    partitions=1,
    why="Whose topics these are: the first mark counts; who is somebody else does not start.",
)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this process belongs to.

    Attributes:
        name: of the installation; "": the one remembered, else the one found, else a new one.
        folder: where this machine remembers the name; ``None``: nowhere.
    """

    name: str = ""
    folder: Path | None = None


async def identify(
    clients: KafkaClients, publisher: Publisher, identity: Identity, wall_clock: WallClock
) -> str:
    """Find the mark, or leave one where there was never any; compare it with who we are.

    Args:
        clients: to the brokers; the topic exists.
        publisher: of the same brokers.
        identity: who we are.
        wall_clock: when a mark was made, for people.

    Returns:
        The name of the installation.

    Raises:
        VigieError: EVENT_LOG_OF_ANOTHER, EVENT_LOG_UNAVAILABLE.
    """
    owners, prefix = RememberedOwners(identity.folder, _MEMORY), clients.config.topic_prefix
    remembered = await asyncio.to_thread(owners.recall, prefix)
    found = await marked(clients)
    if found is None:
        identifiers = IdentifierSource(wall_clock)
        name = identity.name or remembered or identifiers.text()
        await _mark(publisher, name, identifiers.text(), wall_clock)
        found = await marked(clients)
        if found is None:
            raise unavailable(clients, "cannot tell whose log this is", "the mark was not kept")
        log.info("eventlog_installation_marked", installation=found)
    compare(clients, found, (identity.name, remembered))
    if not remembered:
        await asyncio.to_thread(owners.remember, prefix, found)
    return found


async def marked(clients: KafkaClients) -> str | None:
    """Whose mark is in the topic, which exists; ``None``: nobody's yet.

    Raises:
        VigieError: EVENT_LOG_UNAVAILABLE; EVENT_LOG_OF_ANOTHER: what is there is no mark.
    """
    reading = Reading(clients, INSTALLATION_TOPIC.name)
    try:
        places = await reading.begin([0], {})
        async for stored in to_the_end(reading, places, clients.config.request_timeout_seconds):
            try:
                return parse_event(stored, StringValue).value
            except Unprocessable as why:
                raise VigieError(
                    EVENT_LOG_OF_ANOTHER,
                    f"{_place(clients)}: offset {stored.position.offset} of topic "
                    f"{INSTALLATION_TOPIC.name} is no mark of an installation ({why})",
                ) from why
        return None
    finally:
        await reading.close()


def compare(clients: KafkaClients, found: str, expected: tuple[str, ...]) -> None:
    """Refuse a log that is marked with another name than those expected ("": any).

    Raises:
        VigieError: EVENT_LOG_OF_ANOTHER.
    """
    for name in expected:
        if name and name != found:
            raise VigieError(
                EVENT_LOG_OF_ANOTHER,
                f"{_place(clients)} belong to installation {found}, this is {name}",
                installation=found,
            )


async def _mark(publisher: Publisher, name: str, event_id: str, wall_clock: WallClock) -> None:
    event = make_event(
        StringValue(value=name),
        key=event_id,
        source="vigie/platform",
        wall_clock=wall_clock,
        event_id=event_id,
    )
    try:
        await publisher.publish(INSTALLATION_TOPIC.name, [event])
    except VigieError as error:
        raise VigieError(
            error.reason,
            "nobody has marked whose topics these are (`vigie topics apply` does): "
            + error.message,
        ) from error


def _place(clients: KafkaClients) -> str:
    config = clients.config
    return f"topics {config.topic_prefix}* at {', '.join(config.bootstrap)}"
