"""Synthetic installations for measurements: months of index in seconds, real footage where needed.

The product itself enters the cameras. While it is stopped, rows are written into its database as
recording writes them: segments of 30 s, spans cut at quarters of a day, ends of runs, outages, and
the events they came from (consumed already). Objects exist only where a measurement reads them.
"""

import hashlib
import random
import sqlite3
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from integration.foreign.product import ADMINISTRATOR, ZONE, Product
from recording_footage import FPS, FRAME_TICKS, GOP, PRFT_BYTES, RecordedSegment, encoded
from vigie.ingest.upload.events import SEGMENTS_TOPIC, segment_event
from vigie.media.bmff.fragment import build_fragment
from vigie.media.bmff.header import build_header, content_type
from vigie.media.bmff.randomaccess import RandomAccessTable
from vigie.media.timing import SampleTable
from vigie.platform.clock import SystemWallClock
from vigie.platform.database import open_database
from vigie.platform.eventlog import open_event_log
from vigie.platform.objectstore import open_directory_store
from vigie.recording.model import Cause
from vigie.registry.v1 import cameras_pb2, cameras_pb2_grpc

SECOND_US = 1_000_000
HOUR_US = 3600 * SECOND_US
DAY_US = 24 * HOUR_US
SEGMENT_US = 30 * SECOND_US
PIECE_US = 6 * HOUR_US
EVENT_BYTES = 330
NOBODY = "rtsp://127.0.0.1:9/nobody"
"""An address that refuses connections."""

_SEGMENTS = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)
INSERT INTO recording_segments
SELECT printf('footage/%s/%d.%d.m4v', :camera, :start + i * 30000000, i), :camera, :run, i,
       :start + i * 30000000, :start + (i + 1) * 30000000, i * 2700000, 2700000, 90000, 750,
       15000000, :sha, 'avc1.640028', 1920, 1080, NULL, :sha, NULL FROM n
"""
_EVENTS = """
WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < :count)
INSERT INTO eventlog_event (topic, "offset", key, type, value, id, time_us, source, appended_us)
SELECT :topic, :offset + i, :camera, 'vigie.ingest.v1.SegmentEvent', zeroblob(:size),
       printf('%s.%d', :run, i), :start + i * 30000000, 'vigie/ingest', :start + i * 30000000 FROM n
"""


@dataclass(frozen=True)
class History:
    """How much index is written.

    Attributes:
        days: of spans, outages, ends of runs.
        segment_days: of segments and their events, the newest ones; 21.7 million rows of each for
            30 days of 251 cameras, about 20 GB.
    """

    days: int
    segment_days: int


def camera_name(number: int) -> str:
    return f"cam-{number:04d}"


async def commission(product: Product, count: int) -> list[float]:
    """Enter cameras and put them into service; milliseconds a camera."""
    stub = product.client(cameras_pb2_grpc.CameraServiceStub, ADMINISTRATOR)
    taken = []
    for number in range(count):
        name, begun = camera_name(number), time.perf_counter()
        entry = cameras_pb2.Camera(zone=f"zones/{ZONE}", display_name=name, stream_uri=NOBODY)
        await stub.CreateCamera(cameras_pb2.CreateCameraRequest(camera_id=name, camera=entry))
        await stub.CommissionCamera(
            cameras_pb2.CommissionCameraRequest(name=f"cameras/{name}", reason="essai")
        )
        taken.append((time.perf_counter() - begun) * 1000)
    return taken


class HistoryWriter:
    """Writes months of index into the database of a product that is stopped."""

    def __init__(self, database: Path, history: History, end_us: int) -> None:
        self._connection = sqlite3.connect(database, isolation_level=None)
        self._history = history
        self._end_us = end_us
        self._random = random.Random(1)
        self._topic, self._offset = self._connection.execute(
            "SELECT topic, next_offset FROM eventlog_topic WHERE name = ?", (SEGMENTS_TOPIC,)
        ).fetchone()

    def write(self, cameras: int) -> int:
        """Write everything; how many segments."""
        connection = self._connection
        connection.execute("PRAGMA synchronous=OFF")
        total = 0
        for number in range(cameras):
            connection.execute("BEGIN IMMEDIATE")
            total += self._camera(camera_name(number))
            connection.execute("COMMIT")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            "UPDATE eventlog_topic SET next_offset = ? WHERE topic = ?", (self._offset, self._topic)
        )
        connection.execute(
            'UPDATE consumer_position SET "offset" = ? WHERE topic = ?',
            (self._offset - 1, SEGMENTS_TOPIC),
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return total

    def _camera(self, camera: str) -> int:
        at_us = self._end_us - self._history.days * DAY_US
        segments_from_us = self._end_us - self._history.segment_days * DAY_US
        total = 0
        while at_us < self._end_us - SEGMENT_US:
            most = (self._end_us - at_us) // SEGMENT_US
            count = min(self._random.randint(120, 1440), most)
            run = f"{self._random.getrandbits(128):032x}"
            self._spans(camera, run, at_us, count)
            if at_us + count * SEGMENT_US > segments_from_us:
                self._segments(camera, run, at_us, count)
                total += count
            at_us += count * SEGMENT_US
            gap_us = self._random.randint(2 * SECOND_US, 90 * SECOND_US)
            self._connection.execute(
                "INSERT INTO recording_run_ends VALUES (?, ?, ?, ?, 1, ?)",
                (run, camera, at_us, count, f"footage/{camera}/{at_us}.{count}.m4v_end"),
            )
            self._connection.execute(
                "INSERT INTO recording_outages VALUES (?, ?, ?, ?, ?, ?, 'no packet', 0)",
                (f"o-{run}", at_us, camera, at_us, at_us + gap_us, int(Cause.CAMERA_SILENT)),
            )
            at_us += gap_us
        return total

    def _spans(self, camera: str, run: str, start_us: int, count: int) -> None:
        first = 0
        for number in range(1, count + 1):
            begun, now = start_us + first * SEGMENT_US, start_us + number * SEGMENT_US
            if number == count or begun // PIECE_US != now // PIECE_US:
                self._connection.execute(
                    "INSERT INTO recording_spans VALUES (?, ?, ?, ?, ?, ?)",
                    (run, first, number - 1, camera, begun, now),
                )
                first = number

    def _segments(self, camera: str, run: str, start_us: int, count: int) -> None:
        facts = {"camera": camera, "run": run, "start": start_us, "count": count}
        self._connection.execute(_SEGMENTS, facts | {"sha": "0" * 64})
        place = {"topic": self._topic, "offset": self._offset, "size": EVENT_BYTES}
        self._connection.execute(_EVENTS, facts | place)
        self._offset += count


# --- footage that can be read --------------------------------------------------------------------


def fat_segments(
    camera: str, run: str, start_us: int, *, count: int, bits_a_second: int
) -> Iterator[RecordedSegment]:
    """Segments of 30 s of one run, one at a time: real pictures, padded to a bit rate.

    The padding is a filler NAL unit (type 12) behind each picture, as cameras with a constant
    bit rate send it.
    """
    source = encoded(SEGMENT_US // SECOND_US * FPS)
    configuration = source.parameters.configuration
    header = build_header(configuration, presentation_delay=0)
    noise = bytes(byte % 255 + 1 for byte in random.Random(2).randbytes(1 << 16))
    sample_bytes = bits_a_second // 8 // FPS
    gops = [[_padded(sample, sample_bytes, noise) for sample, _ in gop] for gop in source.gops]
    duration = len(gops) * GOP * FRAME_TICKS
    for number in range(count):
        data, index = bytearray(header), RandomAccessTable()
        segment_us = start_us + number * SEGMENT_US
        for place, gop in enumerate(gops):
            base = number * duration + place * GOP * FRAME_TICKS
            table = SampleTable(
                [FRAME_TICKS] * len(gop),
                [len(sample) for sample in gop],
                [0] * len(gop),
                [at == 0 for at in range(len(gop))],
            )
            index.append(base, len(data) + PRFT_BYTES)
            wall_us = segment_us + place * SECOND_US
            data += build_fragment(table, number * len(gops) + place + 1, base, wall_us=wall_us)
            data += b"".join(gop)
        data += index.mfra()
        yield RecordedSegment(
            camera=camera,
            run=run,
            number=number,
            start_us=segment_us,
            duration_us=SEGMENT_US,
            data=bytes(data),
            media_start=number * duration,
            media_duration=duration,
            sample_count=sum(map(len, gops)),
            header_sha256=hashlib.sha256(header).hexdigest(),
            codec=configuration.codec_string,
            seek_table=index.seek_table(),
            mime=content_type(configuration),
            first_frame=0,
        )


def _padded(sample: bytes, size_bytes: int, noise: bytes) -> bytes:
    missing = size_bytes - len(sample) - 6
    if missing <= 0:
        return sample
    filler = b"\x0c" + (noise * (missing // len(noise) + 1))[:missing] + b"\x80"
    return sample + len(filler).to_bytes(4) + filler


async def store_footage(
    folder: Path, camera: str, start_us: int, *, count: int, bits_a_second: int = 4_000_000
) -> list[Path]:
    """Put an unbroken run into the store and the log of a product that is stopped; the files."""
    wall = SystemWallClock()
    run = f"{random.Random(start_us).getrandbits(128):032x}"
    database = await open_database(folder / "data" / "vigie.db")
    store = await open_directory_store(folder / "store", wall)
    log = await open_event_log(database, wall)
    paths = []
    try:
        for segment in fat_segments(
            camera, run, start_us, count=count, bits_a_second=bits_a_second
        ):
            await segment.store(store)
            event = segment_event(segment.event(), f"{run}.{segment.number}", segment.end_us)
            await log.append(SEGMENTS_TOPIC, [event])
            paths.append(folder / "store" / segment.key)
    finally:
        await log.close()
        await store.close()
        await database.close()
    return paths


def memory_bytes(pid: int, field: str = "Pss") -> int:
    """A line of ``smaps_rollup`` (Pss, Rss, …)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0
