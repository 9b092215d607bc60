"""How evenly 10,000 cameras are shared by 40 processes, and what moves when one comes or goes.

No broker: Kafka's partitioner on the keys, and the sticky assignor that the leader of a group runs.

    .venv/bin/python tests/bench/bench_assignment.py [--cameras 10000] [--processes 40]
"""

import argparse
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "services"))

from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.partitioner import DefaultPartitioner

TOPIC = "cameras"
Assignment = Mapping[str, frozenset[int]]


class Cluster:
    """As much of a cluster as the assignor asks for."""

    def __init__(self, partitions: int) -> None:
        self._partitions = set(range(partitions))

    def topics(self) -> set[str]:
        return {TOPIC}

    def partitions_for_topic(self, topic: str) -> set[int]:
        return self._partitions if topic == TOPIC else set()


class Group:
    """Members of a consumer group; each remembers what it was given, as processes do."""

    def __init__(self, partitions: int) -> None:
        self._cluster = Cluster(partitions)
        self._members: dict[str, type[StickyPartitionAssignor]] = {}
        self._generation = 0
        self.seconds = 0.0

    def join(self, *names: str) -> None:
        for name in names:
            own = {"member_assignment": None, "generation": -1}
            self._members[name] = type("Own", (StickyPartitionAssignor,), own)

    def leave(self, name: str) -> None:
        del self._members[name]

    def rebalance(self) -> Assignment:
        self._generation += 1
        leader = next(iter(self._members.values()))
        metadata = {name: member.metadata([TOPIC]) for name, member in self._members.items()}
        begun = time.perf_counter()
        given = leader.assign(self._cluster, metadata)
        self.seconds = time.perf_counter() - begun
        for name, member in self._members.items():
            read = ConsumerProtocolMemberAssignment.decode(given[name].encode())
            member.on_assignment(read)
            member.on_generation_assignment(self._generation)
        return {
            name: frozenset(one.partition for one in given[name].partitions()) for name in given
        }


def partition_of(key: str, partitions: Sequence[int]) -> int:
    return int(DefaultPartitioner()(key.encode(), list(partitions), list(partitions)))


def owners(assignment: Assignment) -> dict[int, str]:
    return {number: name for name, numbers in assignment.items() for number in numbers}


def moved(before: Assignment, after: Assignment, cameras: Counter[int]) -> tuple[int, int]:
    """Cameras that change hands, and those among them that two processes hand each other that
    were there before and are there after."""
    was, now = owners(before), owners(after)
    changed = [number for number in now if was[number] != now[number]]
    needless = [number for number in changed if was[number] in after and now[number] in before]
    return sum(cameras[n] for n in changed), sum(cameras[n] for n in needless)


def simulate(cameras: int, processes: int, partitions: int) -> dict[str, float]:
    """One estate: its spread, and what moves when a process comes and when one goes."""
    keys = [f"cam-{n % 97:02}-{n:05}" for n in range(cameras)]
    numbers = range(partitions)
    per_partition = Counter(partition_of(key, numbers) for key in keys)
    group = Group(partitions)
    group.join(*(f"ingest-{n:02}" for n in range(processes)))
    first = group.rebalance()
    load = [sum(per_partition[n] for n in held) for held in first.values()]
    group.join("ingest-new")
    grown = group.rebalance()
    came, needless_came = moved(first, grown, per_partition)
    group.leave("ingest-07")
    shrunk = group.rebalance()
    went, needless_went = moved(grown, shrunk, per_partition)
    again = group.rebalance()
    assert set(owners(again)) == set(numbers)
    return {
        "least": min(load),
        "mean": statistics.mean(load),
        "most": max(load),
        "came": came,
        "needless_came": needless_came,
        "went": went,
        "needless_went": needless_went,
        "idle": moved(shrunk, again, per_partition)[0],
        "ms": group.seconds * 1000,
    }


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--cameras", type=int, default=10_000)
    arguments.add_argument("--processes", type=int, default=40)
    given = arguments.parse_args()
    print(f"{given.cameras} cameras, {given.processes} processes; cameras a process:")
    print(
        f"{'partitions':>10} {'least':>6} {'mean':>6} {'most':>6} | one comes: moved (needlessly)"
        " | one goes: moved (needlessly) | nothing: moved | assignor"
    )
    for partitions in (48, 256, 512, 1024):
        found = simulate(given.cameras, given.processes, partitions)
        print(
            f"{partitions:>10} {found['least']:>6.0f} {found['mean']:>6.0f} {found['most']:>6.0f}"
            f" | {found['came']:>16.0f} ({found['needless_came']:.0f})"
            f" | {found['went']:>16.0f} ({found['needless_went']:.0f})"
            f" | {found['idle']:>14.0f} | {found['ms']:.0f} ms"
        )


if __name__ == "__main__":
    main()
