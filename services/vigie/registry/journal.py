"""Writes a change of cameras: state, history, coverage and event, in one transaction."""

from collections.abc import Sequence
from typing import Final

from vigie.platform.database.connection import AsyncConnection
from vigie.platform.eventlog import Event, EventLog, TopicSpec
from vigie.platform.identifiers import IdentifierSource
from vigie.registry import camerastore, convert, coverage
from vigie.registry.model import CameraRecord, Change, Term
from vigie.registry.v1.cameras_pb2 import Camera
from vigie.registry.v1.events_pb2 import CameraState

SOURCE: Final = "vigie/registry"
CAMERAS_TOPIC: Final = TopicSpec(
    name="cameras",
    compacted=True,
    partitions=256,
    why="Desired state of each camera, newest first: what ingest receives and recording expects.",
)


class CameraJournal:
    """The one place where cameras change.

    Args:
        event_log: takes the events, in the transaction of the change.
        identifiers: names the events.
    """

    def __init__(self, event_log: EventLog, identifiers: IdentifierSource) -> None:
        self._event_log = event_log
        self._identifiers = identifiers

    async def write(
        self, connection: AsyncConnection, record: CameraRecord, change: Change
    ) -> Camera:
        """Write one camera; see `write_all`."""
        return (await self.write_all(connection, [record], change))[0]

    async def write_all(
        self, connection: AsyncConnection, records: Sequence[CameraRecord], change: Change
    ) -> list[Camera]:
        """Write cameras (new or changed, each with the revision it had before) as they now are.

        Returns:
            The cameras as callers see them, in the order given.
        """
        now_us = change.recorded_us
        written = [_next(record, change) for record in records]
        await camerastore.save(connection, written)
        for effective_us in sorted({record.effective_us for record in written}):
            group = [record for record in written if record.effective_us == effective_us]
            await coverage.refresh(connection, group, effective_us, now_us)
        terms = await coverage.terms(connection, [item.camera for item in written], now_us)
        messages = [
            convert.camera_message(record, terms[record.camera], now_us) for record in written
        ]
        await camerastore.add_revisions(
            connection,
            [
                {
                    "camera": record.camera,
                    "revision": record.revision,
                    "zone": record.zone,
                    "effective_us": record.effective_us,
                    "recorded_us": change.recorded_us,
                    "action": change.action,
                    "reason": change.reason,
                    "actor": change.actor,
                    "snapshot": message.SerializeToString(deterministic=True),
                }
                for record, message in zip(written, messages, strict=True)
            ],
        )
        events = [self._event(record, terms[record.camera], change) for record in written]
        if events:
            await self._event_log.append(CAMERAS_TOPIC.name, events, connection=connection)
        return messages

    def _event(self, record: CameraRecord, terms: Sequence[Term], change: Change) -> Event:
        return Event(
            key=record.camera,
            type=CameraState.DESCRIPTOR.full_name,
            value=convert.camera_state_event(record, terms).SerializeToString(deterministic=True),
            id=self._identifiers.text(),
            time_us=change.recorded_us,
            source=SOURCE,
        )


def _next(record: CameraRecord, change: Change) -> CameraRecord:
    """The record with its next revision.

    A state never takes effect before the one it follows, even when the wall clock was set back:
    the history of a camera stays in order.
    """
    asked_us = change.recorded_us if change.effective_us is None else change.effective_us
    return record.with_values(
        revision=record.revision + 1,
        effective_us=max(asked_us, record.effective_us),
        created_us=record.created_us or change.recorded_us,
        updated_us=change.recorded_us,
    )
