"""A bucket with months of keys, for measurements: small objects named and described as footage is.

The keys, and the attributes, are those of ingest: segments of 30 s of runs that last for hours,
with the end of each run. The content is a few bytes: a listing does not read it. MinIO takes them
in archives (its extension ``X-Amz-Meta-Snowball-Auto-Extract``: one request for a camera-day, and
each object stored as by a request of its own); any other store by single puts.
"""

import hashlib
import io
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from minio import Minio

from servers_s3 import S3Server
from vigie.platform.clock import SystemWallClock
from vigie.platform.objectstore.s3.attributes import to_headers
from vigie.platform.objectstore.s3.client import S3Client
from vigie.platform.objectstore.s3.opening import requests_for
from vigie.platform.objectstore.s3.settings import S3Config
from vigie.recording.keys import end_key, segment_key

SEGMENT_US: Final = 30_000_000
DAY_US: Final = 86_400_000_000
RUN_SEGMENTS: Final = 960
"""Eight hours: a camera is connected to again a few times a day."""
T0_US: Final = 1_772_323_200_000_000
SEGMENTS_A_DAY: Final = DAY_US // SEGMENT_US
_CONTENT: Final = b"footage is not listed"
_SHA256: Final = hashlib.sha256(_CONTENT).hexdigest()
_TYPE: Final = "video/mp4"


@dataclass(frozen=True, slots=True)
class Made:
    """An object: its key and what it says of itself."""

    key: str
    attributes: dict[str, str]


def camera_name(number: int) -> str:
    """The identifier of a camera."""
    return f"cam-{number:05d}"


def run_name(camera: str, number: int) -> str:
    """The identifier of a run."""
    return hashlib.sha256(f"{camera}/{number}".encode()).hexdigest()[:32]


def camera_day(camera: str, day: int, prefix: str = "footage") -> Iterator[Made]:
    """The objects of a camera and a day, by time."""
    for in_day in range(SEGMENTS_A_DAY):
        run, number = divmod(day * SEGMENTS_A_DAY + in_day, RUN_SEGMENTS)
        start_us = T0_US + day * DAY_US + in_day * SEGMENT_US
        name = run_name(camera, run)
        told = {
            "Vigie-Camera": camera,
            "Vigie-Run": name,
            "Vigie-Number": str(number),
            "Vigie-StartUs": str(start_us),
            "Vigie-DurationUs": str(SEGMENT_US),
            "Vigie-MediaStart": str(number * 2_700_000),
            "Vigie-MediaDuration": "2700000",
            "Vigie-SampleCount": "750",
            "Vigie-Codec": "avc1.640028",
            "Vigie-HeaderSha256": _SHA256,
            "Timescale": "90000",
            "VideoWidth": "1920",
            "VideoHeight": "1080",
        }
        yield Made(segment_key(prefix, camera, name, start_us, number), told)
        if number == RUN_SEGMENTS - 1:
            end_us = start_us + SEGMENT_US
            ended = {
                "Vigie-Camera": camera,
                "Vigie-Run": name,
                "Vigie-SegmentCount": str(RUN_SEGMENTS),
                "Vigie-EndUs": str(end_us),
                "Vigie-EndReason": "CAMERA_SILENT",
            }
            yield Made(end_key(prefix, camera, name, end_us, RUN_SEGMENTS), ended)


def fill(server: S3Server, config: S3Config, cameras: int, days: int, at_once: int = 4) -> int:
    """Put the objects of cameras and days into a bucket; how many."""
    put = _archive if server.kind == "minio" else _one_by_one
    client = (
        server.client()
        if server.kind == "minio"
        else requests_for(config, SystemWallClock()).client
    )
    with ThreadPoolExecutor(at_once) as threads:
        jobs = [
            threads.submit(put, client, config, camera_name(camera), day)
            for day in range(days)
            for camera in range(cameras)
        ]
        return sum(job.result() for job in jobs)


def _archive(client: Minio, config: S3Config, camera: str, day: int) -> int:
    packed = io.BytesIO()
    count = 0
    with tarfile.open(fileobj=packed, mode="w:", format=tarfile.PAX_FORMAT) as archive:
        for made in camera_day(camera, day):
            entry = tarfile.TarInfo(config.prefix + made.key)
            entry.size = len(_CONTENT)
            entry.pax_headers = {
                "minio.metadata.Content-Type": _TYPE,
                "minio.metadata.X-Amz-Meta-Vigie-Sha256": _SHA256,
                **{f"minio.metadata.X-Amz-Meta-{n}": v for n, v in made.attributes.items()},
            }
            archive.addfile(entry, io.BytesIO(_CONTENT))
            count += 1
    size = packed.tell()
    packed.seek(0)
    client.put_object(
        config.bucket, "archive.tar", packed, size, part_size=512 << 20,
        metadata={"X-Amz-Meta-Snowball-Auto-Extract": "true"},
    )  # fmt: skip
    return count


def _one_by_one(client: S3Client, config: S3Config, camera: str, day: int) -> int:
    count = 0
    for made in camera_day(camera, day):
        headers = to_headers(_SHA256, _TYPE, made.attributes)
        client.put(config.bucket, config.prefix + made.key, _CONTENT, headers)
        count += 1
    return count
