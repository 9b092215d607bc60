"""Our way from a file to S3 beside the `minio` client putting the same files, in one run.

Both store the same files in the same bucket with as many at once, in turns; what ours does more is
the digest that the store verifies, the condition that nothing is there, and the look afterwards.
Needs VIGIE_TEST_S3 (and VIGIE_TEST_SEAWEED_S3): see CONTRIBUTING.md.
"""

import argparse
import asyncio
import hashlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from servers_s3 import S3Server, new_bucket, remove_bucket
from vigie.platform.clock import SystemWallClock
from vigie.platform.objectstore.s3.opening import open_s3_store
from vigie.platform.objectstore.s3.store import S3ObjectStore

MEGABYTE = 1_000_000
MUST_REACH = 1.3
SERVERS = {"minio": "VIGIE_TEST_S3", "seaweedfs": "VIGIE_TEST_SEAWEED_S3"}


@dataclass(frozen=True)
class Cost:
    """What one turn took: wall-clock and processor seconds of this process."""

    wall: float
    cpu: float


async def measured(work: Callable[[], Awaitable[None]]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    await work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


class Turn:
    """Puts all files under a prefix of its own, some at once."""

    def __init__(self, server: S3Server, bucket: str, files: dict[Path, str], at_once: int) -> None:
        self.server, self.bucket, self.files, self.at_once = server, bucket, files, at_once

    async def plain(self, name: str) -> None:
        client = self.server.client()
        with ThreadPoolExecutor(self.at_once) as threads:
            loop = asyncio.get_running_loop()
            await asyncio.gather(
                *(
                    loop.run_in_executor(
                        threads,
                        client.fput_object,
                        self.bucket,
                        f"{name}/{path.name}",
                        str(path),
                        "video/mp4",
                    )
                    for path in self.files
                )
            )

    async def ours(self, store: S3ObjectStore, name: str) -> None:
        limit = asyncio.Semaphore(self.at_once)

        async def put(path: Path, sha256: str) -> None:
            async with limit:
                await store.put_file(
                    f"{name}/{path.name}",
                    path,
                    sha256=sha256,
                    content_type="video/mp4",
                    metadata={"Vigie-Camera": "cam-a", "Vigie-Number": "1"},
                )

        await asyncio.gather(*(put(*each) for each in self.files.items()))


def files_in(folder: Path, count: int, size_bytes: int) -> dict[Path, str]:
    """Files of footage: they do not compress, and their digests are known, as those of a spool."""
    made = {}
    for number in range(count):
        content = os.urandom(size_bytes)
        path = folder / f"{number:04d}.m4v"
        path.write_bytes(content)
        made[path] = hashlib.sha256(content).hexdigest()
    return made


async def compare(server: S3Server, folder: Path, options: argparse.Namespace) -> None:
    bucket = new_bucket(server)
    files = files_in(folder, options.files, round(options.megabytes * MEGABYTE))
    try:
        store = await open_s3_store(
            server.config(folder, bucket, prefix="bench/"), SystemWallClock(), workspace=None
        )
        turn = Turn(server, bucket, files, options.at_once)
        plain: list[Cost] = []
        ours: list[Cost] = []
        for number in range(options.rounds + 1):  # the first warms up caches and connections
            costs = [
                await measured(lambda n=number: turn.plain(f"plain-{n}")),
                await measured(lambda n=number: turn.ours(store, f"ours-{n}")),
            ]
            if number:
                plain.append(costs[0])
                ours.append(costs[1])
        report(server.kind, options, plain, ours)
        await listing(store, options.objects)
        await store.close()
    finally:
        remove_bucket(server, bucket)


async def listing(store: S3ObjectStore, objects: int) -> None:
    """How fast a bucket of many small objects is listed, in the layout of footage."""
    sha256 = hashlib.sha256(b"").hexdigest()
    keys = [
        f"footage/cam-{n % 5}/2026-11-{n // 1200 + 1:02}/{n // 50 % 24:02}/{n % 50:02}.0Z.{n}.m4v"
        for n in range(objects)
    ]
    for start in range(0, objects, 16):
        await asyncio.gather(
            *(
                store.put_bytes(key, b"", sha256=sha256, content_type="video/mp4", metadata={})
                for key in keys[start : start + 16]
            )
        )
    for name, listed in (("keys", store.list_keys), ("objects with attributes", store.list)):
        begun = time.perf_counter()
        found = len([one async for one in listed("footage/")])
        assert found == len(set(keys))
        print(f"  listed: {found / (time.perf_counter() - begun):7.0f} {name} a second")


def report(kind: str, options: argparse.Namespace, plain: list[Cost], ours: list[Cost]) -> None:
    total = options.files * options.megabytes
    print(
        f"{kind}: {options.files} files of {options.megabytes:g} MB, {options.at_once} at once,"
        f" {options.rounds} rounds, medians"
    )
    for name, costs in (("minio client", plain), ("vigie", ours)):
        wall = statistics.median(cost.wall for cost in costs)
        cpu = statistics.median(cost.cpu for cost in costs)
        print(f"  {name:13} {total / wall:7.0f} MB/s  {cpu / total * 1000:6.2f} ms CPU a MB")
    for what, ratio in (
        ("wall", [o.wall / p.wall for o, p in zip(ours, plain, strict=True)]),
        ("CPU", [o.cpu / p.cpu for o, p in zip(ours, plain, strict=True)]),
    ):
        reached = statistics.median(ratio) <= MUST_REACH
        print(
            f"  {what}: {statistics.median(ratio):.2f} x ({min(ratio):.2f} to {max(ratio):.2f});"
            f" must reach {MUST_REACH} x: {'yes' if reached else 'NO'}"
        )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=16)
    parser.add_argument("--megabytes", type=float, default=15)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--objects", type=int, default=3000, help="small objects to list")
    options = parser.parse_args()
    found = {kind: name for kind, name in SERVERS.items() if os.environ.get(name)}
    if not found:
        print("no server: VIGIE_TEST_S3 is not set; nothing was measured")
    for kind, name in found.items():
        server = S3Server(
            kind,
            os.environ[name],
            os.environ[f"{name}_ACCESS_KEY"],
            os.environ[f"{name}_SECRET_KEY"],
        )
        with tempfile.TemporaryDirectory(prefix="vigie-bench-s3-") as folder:
            await compare(server, Path(folder), options)


if __name__ == "__main__":
    asyncio.run(main())
