"""What log, index and store each say of a segment, and which of them is believed.

Two that agree outvote the third. Where only two are left and they disagree, or all three do,
a person judges. The log is never rewritten, whoever outvotes it.
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import TypeVar

from google.protobuf.message import Message

from vigie.ingest.v1 import events_pb2 as ingest_pb2
from vigie.platform.errors import VigieError
from vigie.platform.eventlog import EventLog
from vigie.platform.eventlog.events import Unprocessable, parse_event
from vigie.platform.objectstore import ObjectInfo, ObjectStore
from vigie.platform.reasons import TOPIC_UNKNOWN
from vigie.recording.attributes import AttributesMissingError, RunEnd, segment_from_object
from vigie.recording.index.convert import EventInvalidError, segment_from_event
from vigie.recording.model import Segment
from vigie.recording.v1 import events_pb2

M = TypeVar("M", bound=Message)


@dataclass(slots=True)
class Told:
    """The newest words of the topics on what is to be mended."""

    segments: dict[str, Segment] = field(default_factory=dict)
    ends: dict[str, RunEnd] = field(default_factory=dict)
    destroyed: dict[str, str] = field(default_factory=dict)


async def read_told(event_log: EventLog, keys: Collection[str]) -> Told:
    """Read ``segments`` and ``destructions`` once: for these objects, and the ends of all runs."""
    told = Told()
    async for event in _readable(event_log, "segments", ingest_pb2.SegmentEvent):
        if event.HasField("run_ended"):
            told.ends[event.run_ended.run] = end_from_event(event.camera, event.run_ended)
        elif event.HasField("segment_stored") and event.segment_stored.object_key in keys:
            with contextlib.suppress(EventInvalidError):
                segment = segment_from_event(event.camera, event.segment_stored)
                told.segments[segment.object_key] = segment
    async for gone in _readable(event_log, "destructions", events_pb2.DestructionEvent):
        if gone.object_key in keys:
            told.destroyed[gone.object_key] = gone.sha256
    return told


async def _readable(event_log: EventLog, topic: str, kind: type[M]) -> AsyncIterator[M]:
    """The events of a topic that can be read; the checker has named the others."""
    try:
        async for stored in event_log.read(topic):
            with contextlib.suppress(Unprocessable):
                yield parse_event(stored, kind)
    except VigieError as failure:
        if failure.reason.name != TOPIC_UNKNOWN.name:
            raise


def end_from_event(camera: str, ended: ingest_pb2.RunEnded) -> RunEnd:
    """The end of a run as its event tells it."""
    return RunEnd(
        camera, ended.run, ended.end_us, ended.segment_count, ended.reason, ended.object_key
    )


@dataclass(frozen=True, slots=True)
class Witnesses:
    """What each says of one object; ``None``: it says nothing.

    Attributes:
        told: the event.
        row: the index.
        shown: the attributes of the object.
        info: the object itself.
    """

    told: Segment | None
    row: Segment | None
    shown: Segment | None
    info: ObjectInfo

    def believed(self) -> Segment | None:
        """What at least two agree on, or the only one there is."""
        voices = [voice for voice in (self.told, self.row, self.shown) if voice is not None]
        if len(voices) == 1:
            return voices[0]
        for voice in voices:
            if voices.count(voice) > 1:
                return voice
        return None


def shown_by(info: ObjectInfo) -> Segment | None:
    """What an object says of itself."""
    try:
        return segment_from_object(info)
    except AttributesMissingError:
        return None


async def digest_of(store: ObjectStore, key: str) -> str:
    """SHA-256 of an object's content as it is now."""
    digest = hashlib.sha256()
    async for chunk in store.read(key):
        digest.update(chunk)
    return digest.hexdigest()
