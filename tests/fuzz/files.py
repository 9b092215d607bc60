"""What comes back from disks and stores: segments, the records and digests of the spool."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Final

from fuzz.draw import Draw
from fuzz.packets import PAYLOAD_TYPE, Packetiser, frame
from fuzz.target import Target, promise
from vigie.ingest.recorder.segment import SUM
from vigie.ingest.spool.records import (
    EndRecord,
    RunRecord,
    SegmentRecord,
    SpoolRecordError,
    decode_record,
    encode_record,
)
from vigie.ingest.spool.scan import Unforced, scan_segment
from vigie.media.bmff.clip import plan_clips
from vigie.media.bmff.fragment import build_fragment
from vigie.media.bmff.header import build_header
from vigie.media.bmff.package import plan_package
from vigie.media.bmff.plan import PlannedSegment, stream
from vigie.media.bmff.randomaccess import RandomAccessTable
from vigie.media.bmff.reader import Fragment, read_fragments, read_header, read_mfra
from vigie.media.codec import VideoCodec
from vigie.media.depacketize import make_depacketizer
from vigie.media.errors import MediaError
from vigie.media.gop import Gop
from vigie.media.timing import RunTimeline

_START_US: Final = 1_790_000_000_000_000
_KINDS: Final = (RunRecord, SegmentRecord, EndRecord)


@contextmanager
def in_memory(content: bytes) -> Iterator[Path]:
    """A file that holds ``content`` and lies on no disk."""
    descriptor = os.memfd_create("fuzz")
    try:
        os.fchmod(descriptor, 0o600)
        os.write(descriptor, content)
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


@cache
def segment(codec: VideoCodec = VideoCodec.H264, groups: int = 3) -> bytes:
    """A small segment as the recorder writes it."""
    packetiser, reader = Packetiser(codec), make_depacketizer(codec, PAYLOAD_TYPE)
    for number in range(groups * 4):
        made = frame(codec, number, number * 3600, key=number % 4 == 0, size=6 + number % 3)
        for packet in packetiser.packets(made):
            reader.push(packet, 0, len(packet), 0)
    reader.flush()
    timeline, index = RunTimeline(), RandomAccessTable()
    data = b""
    for number, gop in enumerate(reader.take(), 1):
        assert isinstance(gop, Gop)
        placed = timeline.append(gop)
        data = data or build_header(gop.parameters.configuration)
        index.append(placed.key_time, len(data) + 32)
        base = placed.base_decode_time
        data += build_fragment(placed.table, number, base, wall_us=_START_US)
        data += b"".join(gop.frames)
    return data + index.mfra()


# --- segments ----------------------------------------------------------------------------------


def _segment(data: bytes) -> None:
    """Bytes of a store that may be anything, read and planned as playback does."""
    try:
        for entry in read_mfra(data):
            promise(entry.time >= 0 and entry.moof_offset >= 0, "an entry of the index")
    except MediaError:
        pass
    header = read_header(data)
    promise(0 < header.size_bytes <= len(data), "the header lies in the file")
    fragments = read_fragments(data, header)
    at = header.size_bytes
    for found in fragments:
        promise(at <= found.offset <= found.moof_offset < found.data_offset, "in order")
        promise(found.data_offset + found.data_size <= found.end <= len(data), "in the file")
        at = found.end
        _check_table(found)
    planned = PlannedSegment(data, header, fragments, _START_US, 1_000_000)
    for plan in (
        *plan_clips([planned], _START_US + 200_000, _START_US + 700_000),
        plan_package([planned]),
    ):
        if plan.size_bytes <= 1 << 20:
            made = b"".join(stream(plan, lambda source, start, size: source[start : start + size]))
            promise(len(made) == plan.size_bytes, "a plan says how long it is")


def _check_table(found: Fragment) -> None:
    table = found.table
    columns = {len(table.sizes), len(table.durations), len(table.sync)}
    promise(columns == {len(table.composition_offsets)}, "one entry a sample")
    promise(sum(table.sizes) == found.data_size, "the samples are the data")


# --- the spool ---------------------------------------------------------------------------------


def _record(data: bytes) -> None:
    kind = _KINDS[data[0] % 3 if data else 0]
    content = data[1:]
    if data and data[0] & 0x80:
        content = _redigested(content)
    record = decode_record(content, kind)
    again = encode_record(record)
    # Compared as text: a body may hold NaN, which is not equal to itself.
    promise(encode_record(decode_record(again, kind)) == again, "a record is its own copy")


def _redigested(content: bytes) -> bytes:
    """The body with the digest it should have, so that what lies behind the digest is reached."""
    try:
        envelope = json.loads(content)
        body = json.dumps(envelope["body"], sort_keys=True).encode()
        envelope["sha256"] = hashlib.sha256(body).hexdigest()
        return json.dumps(envelope).encode()
    except (ValueError, KeyError, TypeError, RecursionError):
        return content


@cache
def _spooled() -> tuple[bytes, bytes, tuple[int, ...]]:
    """A segment under way, its running digests, and where its fragments end."""
    data = segment()
    ends = [found.end for found in read_fragments(data)]
    media = data[: ends[-1]]
    sums = b"".join(SUM.pack(end, hashlib.sha256(media[:end]).digest()) for end in ends)
    return media, sums, tuple(ends)


def _scan(data: bytes) -> None:
    """A segment under way after a crash: cut, altered, the digests behind or damaged."""
    draw = Draw(data)
    media, sums, ends = _spooled()
    hurt_media, hurt_sums = bytearray(media), bytearray(sums)
    unforced = Unforced.LAST if draw.flag() else Unforced.NOTHING
    while draw.more:
        hurt = hurt_sums if draw.byte() % 4 == 3 else hurt_media
        at, step = draw.number(2) % (len(hurt) + 1), draw.below(4)
        if step == 0:
            del hurt[at:]
        elif step == 1 and at < len(hurt):
            hurt[at] ^= 1 << draw.below(8)
        elif step == 2:
            hurt[at:at] = draw.take(draw.below(32))
        else:
            hurt[at : at + 8] = bytes(min(8, len(hurt) - at))
    with in_memory(bytes(hurt_media)) as one, in_memory(bytes(hurt_sums)) as other:
        found = scan_segment(one, other, unforced=unforced)
    promise(found.size_bytes <= len(hurt_media), "nothing is trusted that is not there")
    trusted = bytes(hurt_media[: found.size_bytes])
    promise(
        not found.fragments or found.digest.digest() == hashlib.sha256(trusted).digest(),
        "the running digest is that of what is trusted",
    )
    known = sums[: len(hurt_sums) - len(hurt_sums) % SUM.size]
    if bytes(hurt_sums[: len(known)]) == known:  # the digests that are left are intact
        covered = [end for end in ends[: len(known) // SUM.size] if end <= found.size_bytes]
        promise(not covered or media[: covered[-1]] == trusted[: covered[-1]], "no altered footage")
    if hurt_media == media and hurt_sums == sums:
        promise(found.size_bytes == len(media) and not found.altered, "what is whole is trusted")
    starts = list(accumulate(each.size_bytes for each in found.fragments))
    promise(len(starts) == len(found.fragments), "a list of fragments")


TARGETS: Final = (
    Target("segment", _segment, (MediaError,), False, 4096,
           (b"moof", b"mdat", b"trun", b"tfhd", b"tfdt", b"prft", b"mfra", b"mfro", b"moov",
            b"avcC", b"hvcC", b"elst", b"\0\0\0\1", b"\xff\xff\xff\xff")),
    Target("spool-record", _record, (SpoolRecordError,), False, 2048,
           (b'"version": 1', b'"kind": ', b'"body": {', b'"sha256": "', b"[[[[[[[[", b"1e999")),
    Target("spool-scan", _scan, (), False, 64),
)  # fmt: skip
