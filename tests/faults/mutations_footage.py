"""I1, I2, I8, I9: events, objects, spool, and what is kept too long."""

import json

from faults.estate import CAMERA, GONE, NOW, OTHER, RUN_E, A, B, D, Estate, spool_record
from faults.mutation import Mutation
from recording_footage import RecordedSegment, record_run
from recording_support import DAY, RUN_B, SECOND, T0
from vigie.ingest.spool.records import encode_record
from vigie.recording.fsck.report import EVIDENCE, ITSELF, JUDGEMENT, LAW, LOST

E = record_run(CAMERA, RUN_E, T0 + 30 * SECOND)
"""A run that was never stored."""
SEGMENT_EVENT = "vigie.ingest.v1.SegmentEvent"
SECOND_OF_B = B.segments[1]


def event_id(segment: RecordedSegment) -> str:
    return f"{segment.run}.{segment.number}"


def object_gone(at: Estate) -> None:
    at.object(SECOND_OF_B.key).unlink()


def event_of_nothing(at: Estate) -> None:
    at.append("segments", CAMERA, SEGMENT_EVENT, E.segments[0].event().SerializeToString(), "x")


def _event_of(at: Estate, segment: RecordedSegment) -> int:
    needle = segment.key.encode()
    rows = at.sql(
        'SELECT "offset" FROM eventlog_event WHERE topic = ? AND instr(value, ?)',
        at.topic("segments"), needle,
    )  # fmt: skip
    return int(rows[0][0])


def event_altered(at: Estate) -> None:
    message = SECOND_OF_B.event()
    message.segment_stored.sha256 = "0" * 64
    at.sql(
        'UPDATE eventlog_event SET value = ? WHERE topic = ? AND "offset" = ?',
        message.SerializeToString(), at.topic("segments"), _event_of(at, SECOND_OF_B),
    )  # fmt: skip


def event_retimed(at: Estate) -> None:
    message = SECOND_OF_B.event()
    message.segment_stored.start_us += SECOND
    at.sql(
        'UPDATE eventlog_event SET value = ? WHERE topic = ? AND "offset" = ?',
        message.SerializeToString(), at.topic("segments"), _event_of(at, SECOND_OF_B),
    )  # fmt: skip


def event_garbage(at: Estate) -> None:
    at.sql(
        'UPDATE eventlog_event SET value = ? WHERE topic = ? AND "offset" = ?',
        b"\xff" * 9, at.topic("segments"), _event_of(at, SECOND_OF_B),
    )  # fmt: skip


def event_taken_out(at: Estate) -> None:
    at.sql(
        'DELETE FROM eventlog_event WHERE topic = ? AND "offset" = ?',
        at.topic("segments"), _event_of(at, SECOND_OF_B),
    )  # fmt: skip


def events_swapped(at: Estate) -> None:
    first, second = _event_of(at, B.segments[0]), _event_of(at, B.segments[1])
    topic = at.topic("segments")
    move = 'UPDATE eventlog_event SET "offset" = ? WHERE topic = ? AND "offset" = ?'
    for here, there in ((first, -1), (second, first), (-1, second)):
        at.sql(move, there, topic, here)


def object_half(at: Estate) -> None:
    path = at.object(SECOND_OF_B.key)
    at.write(path, SECOND_OF_B.data[: len(SECOND_OF_B.data) // 2])


def object_flipped(at: Estate) -> None:
    data = bytearray(SECOND_OF_B.data)
    data[len(data) // 2] ^= 1
    at.write(at.object(SECOND_OF_B.key), bytes(data))


def object_longer(at: Estate) -> None:
    at.write(at.object(SECOND_OF_B.key), SECOND_OF_B.data + b"\0" * 8)


def object_removed_with_record(at: Estate) -> None:
    at.object(SECOND_OF_B.key).unlink()
    at.record(SECOND_OF_B.key).unlink()


def object_exchanged(at: Estate) -> None:
    """Somebody puts other footage in place, its record and all."""
    other = D.segments[0]
    at.write(at.object(SECOND_OF_B.key), other.data)
    record = json.loads(at.record(SECOND_OF_B.key).read_bytes())
    record |= {"sha256": other.sha256, "size_bytes": len(other.data)}
    at.write(at.record(SECOND_OF_B.key), json.dumps(record).encode())


def record_digest_altered(at: Estate) -> None:
    record = json.loads(at.record(SECOND_OF_B.key).read_bytes())
    at.write(at.record(SECOND_OF_B.key), json.dumps(record | {"sha256": "1" * 64}).encode())


def row_digest_altered(at: Estate) -> None:
    at.sql(
        "UPDATE recording_segments SET sha256 = ? WHERE object_key = ?", "2" * 64, SECOND_OF_B.key
    )


def segment_never_told(at: Estate) -> None:
    """A segment of the middle of a run is nowhere: file, event, object, row."""
    gone = SECOND_OF_B
    at.object(gone.key).unlink()
    at.record(gone.key).unlink()
    at.sql("DELETE FROM recording_segments WHERE object_key = ?", gone.key)
    at.sql(
        'DELETE FROM eventlog_event WHERE topic = ? AND "offset" = ?',
        at.topic("segments"), _event_of(at, gone),
    )  # fmt: skip


def last_never_told(at: Estate) -> None:
    gone = B.segments[-1]
    at.object(gone.key).unlink()
    at.record(gone.key).unlink()
    at.sql("DELETE FROM recording_segments WHERE object_key = ?", gone.key)
    at.sql(
        'DELETE FROM eventlog_event WHERE topic = ? AND "offset" = ?',
        at.topic("segments"), _event_of(at, gone),
    )  # fmt: skip


def spool_file_gone(at: Estate) -> None:
    (at.spooled(E) / "000000.m4v").unlink()


def spool_file_left(at: Estate) -> None:
    at.spooled(B)


def spool_file_waits(at: Estate) -> None:
    at.spooled(E)


def spool_file_never_closed(at: Estate) -> None:
    (at.spooled(E) / "000000.json").unlink()


def spool_file_flipped(at: Estate) -> None:
    path = at.spooled(E) / "000000.m4v"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    at.write(path, bytes(data))


def spool_file_half(at: Estate) -> None:
    path = at.spooled(E) / "000000.m4v"
    at.write(path, path.read_bytes()[:1000])


def spool_record_altered(at: Estate) -> None:
    path = at.spooled(E) / "000000.json"
    at.write(path, path.read_bytes().replace(b'"number": 0', b'"number": 7'))


def spool_record_of_another(at: Estate) -> None:
    """Two records of a run change places."""
    at.write(at.spooled(E) / "000000.json", encode_record(spool_record(E.segments[1])))


def spool_run_record_half(at: Estate) -> None:
    folder = at.spooled(E)
    at.write(folder / "run.json", (folder / "run.json").read_bytes()[:40])
    at.touch(folder)


def spool_run_renamed(at: Estate) -> None:
    folder = at.spooled(E)
    folder.rename(folder.with_name("0195" + "9" * 28))


def spool_stranger(at: Estate) -> None:
    at.write(at.spool / "runs" / CAMERA / "notes.txt", b"remember to buy a disk")


def spool_quarantine(at: Estate) -> None:
    at.write(at.spool / "quarantine" / "cam-a_000000.m4v", b"\0" * 100)
    at.write(at.spool / "quarantine" / "cam-a_000000.m4v.why", b"the record was altered\n")


def quarantine_old(at: Estate) -> None:
    at.write(at.spool / "quarantine" / "cam-a_000000.m4v", b"\0" * 100, T0 - 40 * DAY)


def spool_old(at: Estate) -> None:
    at.touch(at.spooled(E) / "000000.m4v", T0 - 40 * DAY)


def nothing(at: Estate) -> None:
    """Time alone goes by, and retention does not run."""


def destroyed_comes_back(at: Estate) -> None:
    """A copy of what was destroyed is put back, record and all."""
    segment = GONE.segments[0]
    at.write(at.object(segment.key), segment.data, T0 - 3 * DAY)
    record = {
        "version": 1,
        "key": segment.key,
        "size_bytes": len(segment.data),
        "sha256": segment.sha256,
        "content_type": segment.mime,
        "metadata": segment.metadata(),
        "stored_at_us": T0 - 3 * DAY,
        "holds": [],
        "retain_until_us": None,
    }
    at.write(at.record(segment.key), json.dumps(record).encode())


def authorisation_shortened(at: Estate) -> None:
    at.sql(
        "UPDATE recording_camera_states SET authorisations = ? WHERE camera = ?",
        f'[["authorisations/{OTHER}",{T0 - 4 * DAY},{T0},1]]', OTHER,
    )  # fmt: skip


NOT_IN_STORE = ("I1", "an event tells of an object that the store does not have")
OTHER_BYTES = ("I8", "the store has other bytes than were recorded")
MISSING_EVENTS = "events are missing from a log"
MUTATIONS = [
    Mutation(
        "I1", "missing", "an object is removed", object_gone,
        (NOT_IN_STORE, ("I3", "the index names an object that the store does not have")), LOST,
    ),
    Mutation(
        "I1", "extra", "an event tells of an object that never was", event_of_nothing,
        (NOT_IN_STORE,), LOST,
    ),
    Mutation(
        "I1", "altered", "the digest in an event is altered", event_altered,
        (("I1", "an event tells of another object"),), EVIDENCE,
    ),
    Mutation(
        "I1", "altered", "the time in an event is altered", event_retimed,
        (("I6", "the index contradicts the event of a segment"),), EVIDENCE,
    ),
    Mutation(
        "I1", "altered", "the bytes of an event become garbage", event_garbage,
        (("I1", "an event cannot be read"),), EVIDENCE,
    ),
    Mutation(
        "I1", "missing", "an event is taken out of the log", event_taken_out,
        (("I1", MISSING_EVENTS),), EVIDENCE,
    ),
    Mutation(
        "I1", "reordered", "two events of a run change places", events_swapped,
        (("I1", "events of a run stand in another order"),), EVIDENCE,
    ),
    Mutation(
        "I1", "half", "an object is cut in half", object_half,
        (OTHER_BYTES, ("I1", "an event tells of another object")), LOST,
    ),
    Mutation(
        "I2", "missing", "a segment of the middle of a run vanishes everywhere",
        segment_never_told, (("I2", "neither stored, spooled nor destroyed"),), LOST,
    ),
    Mutation(
        "I2", "missing", "the last segment of a run vanishes everywhere", last_never_told,
        (("I2", "neither stored, spooled nor destroyed"),), LOST,
    ),
    Mutation(
        "I2", "missing", "the file of a closed segment is taken from the spool", spool_file_gone,
        (("I2", "vanished from the spool before its event"),), LOST,
    ),
    Mutation(
        "I2", "extra", "a spool file is left behind", spool_file_left,
        (("I2", "left behind after its event"),), ITSELF,
    ),
    Mutation(
        "I2", "extra", "a closed segment waits in the spool", spool_file_waits,
        (("I2", "waits for its upload"),), ITSELF,
    ),
    Mutation(
        "I2", "extra", "something that is no run lies in the spool", spool_stranger,
        (("I2", "no run of a camera"),), ITSELF,
    ),
    Mutation(
        "I2", "extra", "something lies in the quarantine of the spool", spool_quarantine,
        (("I2", "in the quarantine of the spool: the record was altered"),), ITSELF,
    ),
    Mutation(
        "I2", "altered", "the record of a spooled segment is altered", spool_record_altered,
        (("I8", "the record of a segment in the spool was altered"),), LOST,
    ),
    Mutation(
        "I2", "reordered", "the records of two spooled segments change places",
        spool_record_of_another, (("I8", "has the record of another"),), LOST,
    ),
    Mutation(
        "I2", "reordered", "a run is moved to another name in the spool", spool_run_renamed,
        (("I2", "lies in the spool under another name"),), LOST,
    ),
    Mutation(
        "I2", "half", "the record of a run in the spool is half", spool_run_record_half,
        (("I2", "no readable record"),), LOST,
    ),
    Mutation(
        "I2", "half", "a segment in the spool was never closed", spool_file_never_closed,
        (("I2", "was never closed"),), ITSELF,
    ),
    Mutation(
        "I8", "altered", "a bit of an object flips", object_flipped,
        (("I8", "are not those that were recorded"),), LOST, deep=True,
    ),
    Mutation(
        "I8", "altered", "an object is exchanged for other footage, record and all",
        object_exchanged, (OTHER_BYTES,), LOST,
    ),
    Mutation(
        "I8", "altered", "the digest in an object's record is altered", record_digest_altered,
        (OTHER_BYTES,),
    ),
    Mutation(
        "I8", "altered", "the digest in an index row is altered", row_digest_altered,
        (OTHER_BYTES,),
    ),
    Mutation(
        "I8", "altered", "a bit of a spooled segment flips", spool_file_flipped,
        (("I8", "other bytes than were recorded"),), LOST, deep=True,
    ),
    Mutation(
        "I8", "half", "a spooled segment is cut", spool_file_half,
        (("I8", "another size than its record says"),), LOST,
    ),
    Mutation(
        "I8", "half", "an object loses its second half", object_half, (OTHER_BYTES,), LOST,
    ),
    Mutation(
        "I8", "extra", "bytes are appended to an object", object_longer, (OTHER_BYTES,), LOST,
    ),
    Mutation(
        "I8", "missing", "an object goes with its record", object_removed_with_record,
        (NOT_IN_STORE,), LOST,
    ),
    Mutation(
        "I9", "extra", "a month goes by without retention", nothing,
        (("I9", "footage is kept beyond its time"),), LAW, now_us=T0 + 32 * DAY,
    ),
    Mutation(
        "I9", "extra", "what was destroyed is put back", destroyed_comes_back,
        (("I9", "destroyed by the register is still there"),), retention=True,
    ),
    Mutation(
        "I9", "extra", "footage lies in the spool for more than a month", spool_old,
        (("I9", "the spool keeps footage beyond its time"),), LAW,
    ),
    Mutation(
        "I9", "extra", "footage lies in quarantine for more than a month", quarantine_old,
        (("I9", "the quarantine of the spool keeps"),), LAW,
    ),
    Mutation(
        "I9", "extra", "footage was recorded without an authorisation", authorisation_shortened,
        (("I6", "the state of a camera is not in the index"),),
    ),
]  # fmt: skip
del JUDGEMENT, NOW, RUN_B, A
