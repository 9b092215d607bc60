"""I3, I6, I7, I10: rows of the index against bucket, log and each other."""

import json

from faults.estate import CAMERA, GONE, A, B, Estate
from faults.mutation import Mutation
from faults.mutations_footage import E
from recording_footage import record_run
from recording_support import RUN_A, RUN_B, SECOND, T0
from vigie.recording.fsck.report import EVIDENCE, JUDGEMENT, LOST
from vigie.recording.keys import segment_key

B1, B2 = B.segments[1], B.segments[2]
KEY = "WHERE object_key = ?"
SET = "UPDATE recording_segments SET"


def row_gone(at: Estate) -> None:
    at.sql(f"DELETE FROM recording_segments {KEY}", B1.key)


def all_rows_gone(at: Estate) -> None:
    for table in ("segments", "spans", "run_ends"):
        at.sql(f"DELETE FROM recording_{table}")


def row_of_nothing(at: Estate) -> None:
    copied = ", ".join(at.columns("recording_segments")[3:])
    at.sql(
        f"INSERT INTO recording_segments SELECT ?, camera, ?, {copied}"
        f" FROM recording_segments {KEY}",
        segment_key("footage", CAMERA, "0195" + "8" * 28, T0 + 90 * SECOND, 0),
        "0195" + "8" * 28, B1.key,
    )  # fmt: skip


def row_moved(at: Estate) -> None:
    at.sql(f"{SET} camera = 'cam-b' {KEY}", B1.key)


def row_retimed(at: Estate) -> None:
    at.sql(f"{SET} start_us = start_us + 1 {KEY}", B1.key)


def row_renamed(at: Estate) -> None:
    at.sql(f"{SET} object_key = ? {KEY}", E.segments[0].key, B1.key)


def row_half(at: Estate) -> None:
    at.sql(f"{SET} codec = '', header_sha256 = '' {KEY}", B1.key)


def rows_swapped(at: Estate) -> None:
    at.sql(f"{SET} number = -1 {KEY}", B1.key)
    at.sql(f"{SET} number = 1 {KEY}", B2.key)
    at.sql(f"{SET} number = 2 {KEY}", B1.key)


def row_media_time(at: Estate) -> None:
    at.sql(f"{SET} media_start_ticks = 1 {KEY}", B1.key)


def row_of_another_run(at: Estate) -> None:
    at.sql(f"{SET} run = ?, number = 9 {KEY}", RUN_A, B1.key)


def row_header(at: Estate) -> None:
    at.sql(f"{SET} header_sha256 = ? {KEY}", "3" * 64, B1.key)


def row_marked(at: Estate) -> None:
    at.sql(f"{SET} destroying_us = ? {KEY}", T0, B1.key)


def garbage_name(at: Estate) -> None:
    at.write(at.object("footage/holiday.mp4"), b"not ours at all")


def garbage_content(at: Estate) -> None:
    key = segment_key("footage", CAMERA, "", T0 + 50 * SECOND, 0)
    at.write(at.object(key), b"not a film at all" * 100)


def unknown_camera(at: Estate) -> None:
    key = segment_key("footage", "cam-z", "", T0 + 50 * SECOND, 0)
    at.write(at.object(key), b"not a film at all" * 100)


def _put(at: Estate, camera: str, run: str) -> None:
    segment = record_run(camera, run, T0 + 50 * SECOND).segments[0]
    at.write(at.object(segment.key), segment.data)
    record = {
        "version": 1,
        "key": segment.key,
        "size_bytes": len(segment.data),
        "sha256": segment.sha256,
        "content_type": segment.mime,
        "metadata": segment.metadata(),
        "stored_at_us": T0,
        "holds": [],
        "retain_until_us": None,
    }
    at.write(at.record(segment.key), json.dumps(record).encode())


def footage_of_nobody(at: Estate) -> None:
    _put(at, "cam-z", "0195" + "7" * 28)


def record_gone(at: Estate) -> None:
    at.record(B1.key).unlink()


def record_half(at: Estate) -> None:
    at.write(at.record(B1.key), at.record(B1.key).read_bytes()[:100])


def record_of_held_half(at: Estate) -> None:
    key = A.segments[0].key
    at.write(at.record(key), at.record(key).read_bytes()[:100])


def attributes_altered(at: Estate) -> None:
    record = json.loads(at.record(B1.key).read_bytes())
    record["metadata"]["Vigie-StartUs"] = str(B1.start_us + 5)
    at.write(at.record(B1.key), json.dumps(record).encode())


def attributes_swapped(at: Estate) -> None:
    one, two = (json.loads(at.record(s.key).read_bytes()) for s in (B1, B2))
    one["metadata"], two["metadata"] = two["metadata"], one["metadata"]
    at.write(at.record(B1.key), json.dumps(one).encode())
    at.write(at.record(B2.key), json.dumps(two).encode())


def attributes_and_row(at: Estate) -> None:
    """Row and record are altered, each in its own way: only the log is left to believe."""
    attributes_altered(at)
    at.sql(f"{SET} number = 77 {KEY}", B1.key)


def end_gone(at: Estate) -> None:
    at.object(B.end_key).unlink()
    at.record(B.end_key).unlink()


def end_row_gone(at: Estate) -> None:
    at.sql("DELETE FROM recording_run_ends WHERE run = ?", RUN_B)


def end_row_altered(at: Estate) -> None:
    at.sql("UPDATE recording_run_ends SET segment_count = 2 WHERE run = ?", RUN_B)


def end_row_of_nothing(at: Estate) -> None:
    at.sql(
        "INSERT INTO recording_run_ends VALUES (?, ?, ?, 1, 1, ?)",
        "0195" + "6" * 28, CAMERA, T0 + 40 * SECOND, "footage/cam-a/nothing.m4v_end",
    )  # fmt: skip


def end_record_half(at: Estate) -> None:
    at.write(at.record(B.end_key), at.record(B.end_key).read_bytes()[:50])


def end_of_nothing(at: Estate) -> None:
    at.write(at.object(E.end_key), b"")


def register_row_gone(at: Estate) -> None:
    at.sql(f"DELETE FROM recording_destructions {KEY}", GONE.segments[1].key)


def register_row_of_nothing(at: Estate) -> None:
    at.sql(
        "INSERT INTO recording_destructions VALUES (?, ?, ?, 0, ?, ?, ?, 1, 'none', ?, ?)",
        E.segments[0].key, CAMERA, E.run, T0, T0 + SECOND, "4" * 64, T0, T0,
    )  # fmt: skip


def register_row_altered(at: Estate) -> None:
    at.sql(f"UPDATE recording_destructions SET basis = 'a favour' {KEY}", GONE.segments[1].key)


def register_rows_swapped(at: Estate) -> None:
    move = f"UPDATE recording_destructions SET object_key = ? {KEY}"
    one, two = GONE.segments[0].key, GONE.segments[1].key
    for here, there in ((one, "-"), (two, one), ("-", two)):
        at.sql(move, there, here)


def register_row_half(at: Estate) -> None:
    at.sql(f"UPDATE recording_destructions SET destroyed_us = NULL {KEY}", GONE.segments[1].key)


def destruction_listed(at: Estate) -> None:
    """A segment that is listed is put into the register by hand, to have it destroyed."""
    at.sql(
        "INSERT INTO recording_destructions SELECT object_key, camera, run, number, start_us,"
        f" end_us, sha256, 1, 'a favour', ?, NULL FROM recording_segments {KEY}",
        T0, B1.key,
    )  # fmt: skip


def destroyed_span_gone(at: Estate) -> None:
    at.sql("DELETE FROM recording_destroyed_spans")


def destroyed_span_longer(at: Estate) -> None:
    at.sql("UPDATE recording_destroyed_spans SET end_us = end_us + 1000000, last_number = 9")


def span_gone(at: Estate) -> None:
    at.sql("DELETE FROM recording_spans WHERE run = ?", RUN_B)


def span_shorter(at: Estate) -> None:
    at.sql("UPDATE recording_spans SET last_number = 1, end_us = ? WHERE run = ?", B1.end_us, RUN_B)


def span_longer(at: Estate) -> None:
    at.sql(
        "UPDATE recording_spans SET last_number = 5, end_us = end_us + 9000000 WHERE run = ?",
        RUN_B,
    )


def span_shifted(at: Estate) -> None:
    at.sql("UPDATE recording_spans SET start_us = start_us - 1 WHERE run = ?", RUN_B)


def span_of_another(at: Estate) -> None:
    at.sql("UPDATE recording_spans SET camera = 'cam-b' WHERE run = ?", RUN_B)


def spans_swapped(at: Estate) -> None:
    move = "UPDATE recording_spans SET run = ? WHERE run = ?"
    for here, there in ((RUN_A, "-"), (RUN_B, RUN_A), ("-", RUN_B)):
        at.sql(move, there, here)


def span_of_nothing(at: Estate) -> None:
    at.sql(
        "INSERT INTO recording_spans VALUES (?, 0, 0, ?, ?, ?)",
        "0195" + "5" * 28, CAMERA, T0 + 100 * SECOND, T0 + 101 * SECOND,
    )  # fmt: skip


def not_a_film(at: Estate) -> None:
    """Bytes that no player opens, with digests that fit everywhere: record, row and event."""
    garbage = b"not a film at all" * 200
    import hashlib

    digest = hashlib.sha256(garbage).hexdigest()
    at.write(at.object(B1.key), garbage)
    record = json.loads(at.record(B1.key).read_bytes())
    record |= {"sha256": digest, "size_bytes": len(garbage)}
    at.write(at.record(B1.key), json.dumps(record).encode())
    at.sql(f"{SET} sha256 = ?, size_bytes = ? {KEY}", digest, len(garbage), B1.key)
    message = B1.event()
    message.segment_stored.sha256 = digest
    message.segment_stored.size_bytes = len(garbage)
    at.sql(
        "UPDATE eventlog_event SET value = ? WHERE topic = ? AND instr(value, ?)",
        message.SerializeToString(), at.topic("segments"), B1.key.encode(),
    )  # fmt: skip


UNKNOWN = ("I3", "the bucket has footage that the index does not know")
CONTRADICTS = ("I3", "an index row says other things than its object's")
LEAVES_OUT = ("I6", "the timeline leaves out what a segment covers")
LISTS = ("I10", "the timeline lists what no segment covers")
BOUNDS = ("I10", "the timeline has other bounds than its segments")
RECORD = ("I3", "the record of an object is missing or damaged")
NOT_OURS = ("I3", "the bucket has an object that is not ours")
NO_RECORD = ("I3", "whose name is one of footage and whose record is not")
MUTATIONS = [
    Mutation("I3", "missing", "an index row is removed", row_gone, (UNKNOWN, LISTS)),
    Mutation("I3", "missing", "the whole index is emptied", all_rows_gone, (UNKNOWN,)),
    Mutation(
        "I3", "extra", "the index is given a row without object", row_of_nothing,
        (("I3", "the index names an object that the store does not have"),), LOST,
    ),
    Mutation("I3", "altered", "a row is moved to another camera", row_moved, (CONTRADICTS,)),
    Mutation("I3", "altered", "a row is given the key of no object", row_renamed, (UNKNOWN,)),
    Mutation("I3", "altered", "a row is marked for destruction by hand", row_marked,
             (("I3", "being destroyed without a record of it"),), EVIDENCE),
    Mutation("I3", "half", "a row loses two of its columns", row_half, (CONTRADICTS,)),
    Mutation("I3", "reordered", "two rows change places", rows_swapped, (CONTRADICTS,)),
    Mutation("I3", "extra", "an object with a garbage name lies in the bucket", garbage_name,
             (NOT_OURS,)),
    Mutation("I3", "extra", "garbage lies in the bucket under a right name", garbage_content,
             (NO_RECORD,)),
    Mutation("I3", "extra", "garbage of an unknown camera lies in the bucket", unknown_camera,
             (NO_RECORD,)),
    Mutation("I3", "extra", "footage of an unknown camera lies in the bucket", footage_of_nobody,
             (("I3", "footage of a camera that nobody knows"),)),
    Mutation("I3", "missing", "the record of an object is removed", record_gone, (RECORD,)),
    Mutation("I3", "half", "the record of an object is half", record_half, (RECORD,)),
    Mutation("I3", "altered", "the attributes of an object are altered", attributes_altered,
             (CONTRADICTS,)),
    Mutation("I3", "reordered", "the attributes of two objects change places",
             attributes_swapped, (CONTRADICTS,)),
    Mutation("I3", "altered", "row and attributes are both altered, differently",
             attributes_and_row, (CONTRADICTS,), JUDGEMENT),
    Mutation("I3", "missing", "the span end object of a run is removed", end_gone,
             (("I3", "the span end object of a run is not in the store"),)),
    Mutation("I3", "missing", "the row of the end of a run is removed", end_row_gone,
             (("I3", "the index does not know the end of a run"),)),
    Mutation("I3", "altered", "the row of the end of a run is altered", end_row_altered,
             (("I3", "says other things of the end of a run"),)),
    Mutation("I3", "extra", "the index is given the end of a run that never was",
             end_row_of_nothing, (("I3", "the end of a run that nobody knows"),)),
    Mutation("I3", "half", "the record of a span end object is half", end_record_half,
             (("I3", "a span end object has lost its attributes"),)),
    Mutation("I3", "extra", "a span end object of no run lies in the bucket", end_of_nothing,
             (("I3", "belongs to no known run"),)),
    Mutation("I3", "missing", "an entry of the register of destructions is removed",
             register_row_gone, (("I3", "told that is not in the register"),), EVIDENCE),
    Mutation("I3", "extra", "the register is given a destruction that never was",
             register_row_of_nothing, (("I3", "in the register was never told"),), EVIDENCE),
    Mutation("I3", "altered", "an entry of the register is altered", register_row_altered,
             (("I3", "the register contradicts the event"),), EVIDENCE),
    Mutation("I3", "reordered", "two entries of the register change places",
             register_rows_swapped, (("I3", "the register contradicts the event"),), EVIDENCE),
    Mutation("I3", "extra", "listed footage is put into the register by hand",
             destruction_listed, (("I3", "although the register says that it is destroyed"),),
             EVIDENCE),
    Mutation("I3", "missing", "the span of what was destroyed is removed", destroyed_span_gone,
             (("I3", "the destroyed footage leaves out"),)),
    Mutation("I3", "altered", "the span of what was destroyed is stretched",
             destroyed_span_longer, (("I3", "the destroyed footage lists"),)),
    Mutation("I6", "missing", "a span is removed", span_gone, (LEAVES_OUT,)),
    Mutation("I6", "half", "a span is cut short", span_shorter, (LEAVES_OUT,)),
    Mutation("I7", "altered", "a row begins a microsecond late", row_retimed,
             (("I7", "does not begin where the one before it ends"),)),
    Mutation("I7", "altered", "the media time of a row is altered", row_media_time,
             (("I7", "the media time of a run is broken"),)),
    Mutation("I7", "altered", "the parameters of a row are altered", row_header,
             (("I7", "other parameters or cameras"),)),
    Mutation("I7", "extra", "a row is put into another run", row_of_another_run, (CONTRADICTS,)),
    Mutation("I7", "missing", "a row of the middle of a run is removed", row_gone,
             (("I2", "neither stored, spooled nor destroyed"),)),
    Mutation("I7", "reordered", "two rows of a run change numbers", rows_swapped,
             (("I7", "a segment begins before the one before it ends"),)),
    Mutation("I7", "half", "the end of a run says fewer segments than there are",
             end_row_altered, (("I7", "more segments than its end says"),)),
    Mutation("I10", "extra", "a span is stretched", span_longer, (LISTS,)),
    Mutation("I10", "extra", "the index is given a span of nothing", span_of_nothing, (LISTS,)),
    Mutation("I10", "altered", "a span begins a microsecond early", span_shifted, (BOUNDS,)),
    Mutation("I10", "altered", "a span is given to another camera", span_of_another, (BOUNDS,)),
    Mutation("I10", "reordered", "the spans of two runs change places", spans_swapped, (BOUNDS,)),
    Mutation("I10", "missing", "a row within a span is removed", row_gone, (LISTS,)),
    Mutation("I10", "half", "an object is no film, with digests that fit everywhere", not_a_film,
             (("I10", "a listed segment cannot be played"),), JUDGEMENT, deep=True),
    Mutation("I3", "half", "a destruction has no end in the register", register_row_half,
             (("I3", "a destruction was recorded, its end was not"),)),
    Mutation("I4", "half", "the record of an object under a hold is half", record_of_held_half,
             (RECORD, ("I4", "footage under a hold is not held by the store"))),
]  # fmt: skip
