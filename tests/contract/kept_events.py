"""Events as each version has written them: examples, and the bytes that are kept of them.

A file of `FOLDER` is one generation of one example: the record as it stands in a topic (key,
headers, value in hexadecimal) and, beside it, what it says. Files are never changed: they are what
installations have in their logs. After a change of a contract, extend the examples and run
``make keep-events``, which writes a new generation of what is written differently now.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue

from vigie.audit.v1 import events_pb2 as audit
from vigie.common.v1 import access_pb2, types_pb2
from vigie.common.v1 import events_pb2 as platform
from vigie.evidence.v1 import events_pb2 as evidence
from vigie.ingest.v1 import events_pb2 as ingest
from vigie.platform.eventlog import Event
from vigie.platform.eventlog.events import type_of
from vigie.platform.eventlog.kafka.records import headers_of
from vigie.recording.v1 import events_pb2 as recording
from vigie.registry.v1 import events_pb2 as registry

FOLDER: Final = Path(__file__).parent / "events"
_NAME: Final = re.compile(r"(?P<example>.+)\.(?P<generation>\d+)\.json")
NOON_US: Final = 1_772_366_400_000_000


@dataclass(frozen=True)
class Example:
    """An event as a context may write it.

    Attributes:
        name: full name of the message, and the case where a message has several.
        topic: where it is written.
        event: with its headers, as `vigie.platform.eventlog.events.make_event` makes it.
        message: what it says.
    """

    name: str
    topic: str
    event: Event
    message: Message


@dataclass(frozen=True)
class Kept:
    """One generation of an example: a record, and what it says."""

    example: str
    generation: int
    topic: str
    key: str
    headers: tuple[tuple[str, bytes], ...]
    value: bytes
    fields: dict[str, Any]


def at(seconds: int) -> Timestamp:
    return Timestamp(seconds=NOON_US // 1_000_000 + seconds, nanos=abs(seconds) % 1000 * 1000)


def _example(topic: str, source: str, key: str, message: Message, case: str = "") -> Example:
    number = sum(f"{type_of(message)}{case}{key}".encode())
    event = Event(
        key=key,
        type=type_of(message),
        value=message.SerializeToString(deterministic=True),
        id=f"0198c1de-0000-7000-8000-{number:012}",
        time_us=NOON_US + number,
        source=f"vigie/{source}",
        headers={"request-id": f"request-{number}"},
    )
    return Example(type_of(message) + (f".{case}" if case else ""), topic, event, message)


def _camera_state() -> Example:
    terms = [
        registry.AuthorisationTerm(
            authorisation=f"authorisations/a-{number}",
            number=f"2026-000{number}",
            valid_from=at(-1000 * number),
            valid_until=at(10_000_500 + number),
            retention_days=20 + number,
        )
        for number in (1, 2)
    ]
    state = registry.CameraState(
        camera="cam-kept",
        revision=7,
        effective_time=at(1),
        lifecycle=registry.CAMERA_LIFECYCLE_IN_SERVICE,
        zone="zone-3",
        site="site-4",
        commune="92035",
        display_name="Place de la Liberté",
        stream_uri="rtsp://192.0.2.8:554/stream1",
        credentials=registry.SealedSecret(key_id="key-5", ciphertext=bytes(range(40))),
        engine=registry.RECEPTION_ENGINE_LIBAV,
        segment_seconds=30,
        authorisations=terms,
    )
    return _example("cameras", "registry", state.camera, state)


def _segment_events() -> Iterator[Example]:
    run = "0198c1de00007000800000000000000a"
    stored = ingest.SegmentStored(
        object_key="footage/cam-kept/20260301/120000.3.000a.m4v",
        run=run,
        number=3,
        start_us=NOON_US + 11,
        duration_us=30_000_000,
        media_start_ticks=8_100_000,
        media_duration_ticks=2_700_000,
        timescale=90_000,
        sample_count=750,
        size_bytes=12_345_678,
        sha256="a1" * 32,
        codec="avc1.640028",
        width=1920,
        height=1080,
        camera_clock_offset_us=-1500,
        has_camera_clock=True,
        header_sha256="b2" * 32,
    )
    ended = ingest.RunEnded(
        run=run,
        end_us=NOON_US + 12,
        segment_count=4,
        reason=ingest.RUN_END_REASON_CLOCK_JUMP,
        object_key="footage/cam-kept/20260301/120200.000a.end",
    )
    outage = ingest.Outage(
        outage="0198c1de-0000-7000-8000-00000000000b",
        start_us=NOON_US + 13,
        end_us=NOON_US + 60_000_013,
        cause=types_pb2.GAP_CAUSE_PACKETS_LOST,
        detail="half of the packets are lost",
        known_until_us=NOON_US + 59_000_013,
    )
    for case, message in (
        ("segment_stored", {"segment_stored": stored}),
        ("run_ended", {"run_ended": ended}),
        ("outage", {"outage": outage}),
    ):
        event = ingest.SegmentEvent(camera="cam-kept", instance="ingest-6", **message)  # type: ignore[arg-type] # one of three
        yield _example("segments", "ingest", event.camera, event, case)


def _stream_status() -> Example:
    status = ingest.StreamStatusEvent(
        camera="cam-kept",
        instance="ingest-6",
        update_time=at(2),
        state=ingest.STREAM_STATE_RECORDING,
        cause=types_pb2.GAP_CAUSE_CAMERA_SILENT,
        detail="nothing for three seconds",
        run="0198c1de00007000800000000000000c",
        run_start_us=NOON_US + 21,
        last_frame_us=NOON_US + 22,
        codec="hvc1.1.6.L120.90",
        width=2560,
        height=1440,
        frame_rate_millihertz=24_975,
        bit_rate_bps=4_000_001,
        camera_clock_offset_us=-2500,
        has_camera_clock=True,
        failed_attempts=5,
        address="192.0.2.9:7443",
    )
    return _example("stream-status", "ingest", status.camera, status)


def _destruction() -> Example:
    event = recording.DestructionEvent(
        camera="cam-kept",
        object_key="footage/cam-kept/20260201/120000.3.000d.m4v",
        run="0198c1de00007000800000000000000d",
        number=31,
        start_us=NOON_US - 2_000_000_000_000,
        duration_us=29_000_000,
        sha256="c3" * 32,
        reason=recording.DESTRUCTION_REASON_ORDER,
        decision_time=at(3),
        basis="authorisations/a-1",
    )
    return _example("destructions", "recording", event.camera, event)


def _evidence_events() -> Iterator[Example]:
    hold = evidence.HoldState(
        hold="hold-kept",
        cameras=["cam-kept", "cam-kept-2"],
        start_us=NOON_US - 5_000_000,
        end_us=NOON_US + 5_000_000,
        legal_reference="REQ 2026/17",
        evidence_request="evidenceRequests/e-1",
        place_time=at(4),
        placed_by="officer-8",
    )
    yield _example("holds", "evidence", hold.hold, hold, "in_force")
    released = evidence.HoldState()
    released.CopyFrom(hold)
    released.release_time.CopyFrom(at(5))
    yield _example("holds", "evidence", released.hold, released, "released")
    step = evidence.EvidenceRequestEvent(
        request="e-1",
        state="DELIVERED",
        actor="officer-9",
        time=at(6),
        detail="delivered to the court",
        package_sha256="d4" * 32,
    )
    yield _example("evidence-requests", "evidence", step.request, step)


def _access_record() -> Example:
    record = audit.AccessRecord(
        record="0198c1de-0000-7000-8000-00000000000e",
        request_id="request-41",
        phase=audit.ACCESS_PHASE_CLOSED,
        time=at(7),
        subject="officer-10",
        display_name="M. Dupont",
        agency="police-municipale",
        roles=["operator", "auditor"],
        peer="192.0.2.10",
        method="/vigie.recording.v1.PlaybackService/Play",
        kind=access_pb2.RECORD_KIND_COMMUNICATION,
        permission="footage.play",
        objects=["cameras/cam-kept", "cameras/cam-kept-2"],
        zones=["zone-3", "zone-4"],
        window_start_us=NOON_US - 9_000_000,
        window_end_us=NOON_US - 8_000_000,
        purpose="Recherche d'un véhicule",
        case_reference="PV 2026/42",
        decision=audit.DECISION_REFUSED,
        decision_reason="PERMISSION_DENIED",
        delivered_bytes=1_000_003,
        delivered_messages=47,
        end_status="CANCELLED",
        delivered_until_us=NOON_US - 8_500_000,
        suppressed_attempts=6,
    )
    return _example("accesses", "audit", record.subject, record)


def _quarantine_events() -> Iterator[Example]:
    record = platform.OriginalRecord(
        key=b"\xffcam-kept",
        headers=[
            platform.RecordHeader(name="ce_id", value=b"\x00id"),
            platform.RecordHeader(name="ce_type", value=b"vigie.later.v1.Weather"),
        ],
        value=bytes(range(20)),
        size_bytes=20,
        sha256="e5" * 32,
    )
    gone = platform.OriginalRecord(
        without_key=True, without_value=True, size_bytes=2_000_001, left_out=True
    )
    put_away = {"reason": "EVENT_UNPARSABLE", "detail": "wire type 7"}
    asked = {"actor": "local:root", "purpose": "mended in 0.1.1"}
    words: tuple[tuple[str, dict[str, Message]], ...] = (
        ("quarantined", {"quarantined": platform.RecordQuarantined(**put_away, record=record)}),
        ("left_out", {"quarantined": platform.RecordQuarantined(**put_away, record=gone)}),
        ("replay_requested", {"replay_requested": platform.ReplayRequested(**asked)}),
        ("replay_failed", {"replay_failed": platform.ReplayFailed(**put_away)}),
        (
            "resolved",
            {
                "resolved": platform.QuarantineResolved(
                    **asked, outcome=platform.QUARANTINE_OUTCOME_DISCARDED
                )
            },
        ),
    )
    for case, word in words:
        event = platform.QuarantineEvent(
            case_id="0198c1de-0000-7000-8000-000000000010",
            time=at(8),
            consumer="recording-index",
            topic="segments",
            partition=17,
            offset=4_000_000_007,
            **word,  # type: ignore[arg-type] # one of four
        )
        yield _example("quarantine", "platform", event.case_id, event, case)


def examples() -> tuple[Example, ...]:
    """Of every event message of every topic, each field set and, as far as it may, distinct."""
    mark = StringValue(value="north")
    return (
        _camera_state(),
        *_segment_events(),
        _stream_status(),
        _destruction(),
        *_evidence_events(),
        _access_record(),
        *_quarantine_events(),
        _example("installation", "platform", "0198c1de-0000-7000-8000-00000000000f", mark),
    )


def kept() -> list[Kept]:
    """Every generation of every example, oldest first."""
    found = [_read(path) for path in FOLDER.glob("*.json")]
    return sorted(found, key=lambda one: (one.example, one.generation))


def newest() -> dict[str, Kept]:
    """Example -> its newest generation."""
    return {one.example: one for one in kept()}


def _read(path: Path) -> Kept:
    named = _NAME.fullmatch(path.name)
    assert named is not None, f"{path.name} is not EXAMPLE.GENERATION.json"
    told = json.loads(path.read_text("utf-8"))
    return Kept(
        example=named["example"],
        generation=int(named["generation"]),
        topic=told["topic"],
        key=told["key"],
        headers=tuple((name, text.encode()) for name, text in told["headers"].items()),
        value=bytes.fromhex(told["value"]),
        fields=told["fields"],
    )


def is_written_as(example: Example, generation: Kept) -> bool:
    """Whether this version still writes the example as that generation was written."""
    event = example.event
    written = (example.topic, event.key, tuple(headers_of(event)), event.value)
    return written == (generation.topic, generation.key, generation.headers, generation.value)


def keep() -> list[Path]:
    """Write a new generation of every example that is written differently now; the new files."""
    known, made = newest(), []
    for example in examples():
        before = known.get(example.name)
        if before is not None and is_written_as(example, before):
            continue
        number = 1 if before is None else before.generation + 1
        path = FOLDER / f"{example.name}.{number}.json"
        told = {
            "topic": example.topic,
            "key": example.event.key,
            "headers": {name: text.decode() for name, text in headers_of(example.event)},
            "value": (example.event.value or b"").hex(),
            "fields": MessageToDict(example.message, preserving_proto_field_name=True),
        }
        with path.open("x", encoding="utf-8") as file:  # a kept one is never overwritten
            file.write(json.dumps(told, ensure_ascii=False, indent=1) + "\n")
        made.append(path)
    return made


if __name__ == "__main__":
    for each in keep():
        sys.stdout.write(f"kept {each.name}\n")
