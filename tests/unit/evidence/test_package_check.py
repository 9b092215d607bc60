"""The checker's look at packages: each way in which store and requests can differ."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from unit.evidence.conftest import NOW_US, approved
from vigie.evidence.leftovers import package_key
from vigie.evidence.model import PackageInfo, State
from vigie.evidence.packages import PackageCheck, PackageFault
from vigie.evidence.repository import EvidenceRepository
from vigie.platform.objectstore.directory import DirectoryObjectStore

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US
NAME, OTHER = "b" * 32, "c" * 32
KEY = package_key(NAME)
CONTENT = b"a package, for the checker only bytes"
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@dataclass
class Archive:
    repository: EvidenceRepository
    store: DirectoryObjectStore
    folder: Path

    async def request(self, name: str, state: State, *, expire_us: int = NOW_US + DAY_US) -> None:
        package = None
        if state is State.READY:
            package = PackageInfo(
                package_key(name), "p.zip", len(CONTENT), SHA256, "1" * 64, NOW_US, expire_us
            )
        made = replace(approved(1, 2), request=name, state=state, package=package)
        await self.repository.create(made, client_request_id="", client_request_digest="")

    async def put(self, name: str, content: bytes = CONTENT) -> None:
        sha256 = hashlib.sha256(content).hexdigest()
        await self.store.put_bytes(
            package_key(name), content, sha256=sha256, content_type="application/zip", metadata={}
        )

    async def stored_us(self) -> int:
        """By a listing, which tells the time of the file: by the clock of this machine."""
        return max([listed.stored_at_us async for listed in self.store.list_keys("evidence/")])

    async def faults(
        self, *, later_us: int = 2 * DAY_US, since_us: int = NOW_US, deep: bool = False
    ) -> list[tuple[PackageFault, str]]:
        bound_us = since_us + later_us
        check = PackageCheck(self.repository, self.store, bound_us=bound_us, deep=deep)
        return [(found.fault, found.object_key) async for found in check.run()]


@pytest.fixture
def archive(tmp_path: Path, store: DirectoryObjectStore, repository: EvidenceRepository) -> Archive:
    return Archive(repository, store, tmp_path / "store")


async def test_what_is_as_it_was_released_is_sound(archive: Archive) -> None:
    await archive.request(NAME, State.READY, expire_us=NOW_US + 9 * DAY_US)
    await archive.put(NAME)
    for state, name in ((State.VERIFYING, "d" * 32), (State.EXPIRED, "e" * 32)):
        await archive.request(name, state)
    await archive.put("d" * 32)
    assert await archive.faults(deep=True) == []


async def test_a_released_package_that_is_gone(archive: Archive) -> None:
    await archive.request(NAME, State.READY, expire_us=NOW_US + 9 * DAY_US)
    assert await archive.faults() == [(PackageFault.GONE, KEY)]
    assert await archive.faults(later_us=-1) == [], "younger than what is looked at"


async def test_another_file_under_its_name(archive: Archive) -> None:
    await archive.request(NAME, State.READY, expire_us=NOW_US + 9 * DAY_US)
    await archive.put(NAME, CONTENT + b".")
    assert await archive.faults() == [(PackageFault.ALTERED, KEY)]


async def test_bytes_that_changed_at_rest_are_found_by_reading(archive: Archive) -> None:
    await archive.request(NAME, State.READY, expire_us=NOW_US + 9 * DAY_US)
    await archive.put(NAME)
    file = archive.folder / KEY
    file.chmod(0o644)
    file.write_bytes(CONTENT[::-1])
    assert await archive.faults() == []
    assert await archive.faults(deep=True) == [(PackageFault.ALTERED, KEY)]


async def test_a_package_beyond_its_time(archive: Archive) -> None:
    await archive.request(NAME, State.READY, expire_us=NOW_US)
    await archive.put(NAME)
    assert await archive.faults(later_us=DAY_US) == [], "the worker is given a day"
    assert await archive.faults() == [(PackageFault.OVERDUE, KEY)]


@pytest.mark.parametrize("state", [State.EXPIRED, State.CANCELLED, State.REFUSED, State.FAILED])
async def test_what_a_request_that_is_over_left(archive: Archive, state: State) -> None:
    await archive.request(NAME, state)
    await archive.put(NAME)
    stored_us = await archive.stored_us()
    assert await archive.faults(since_us=stored_us, later_us=HOUR_US // 2) == []
    assert await archive.faults(since_us=stored_us) == [(PackageFault.LEFT_OVER, KEY)]


async def test_what_belongs_to_no_request(archive: Archive) -> None:
    await archive.put(OTHER)
    stored_us = await archive.stored_us()
    assert await archive.faults(since_us=stored_us, later_us=0) == []
    assert await archive.faults(since_us=stored_us) == [
        (PackageFault.OF_NO_REQUEST, package_key(OTHER))
    ]


async def test_a_package_that_ends_while_it_is_looked_at_is_sound(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    await archive.request(NAME, State.READY, expire_us=NOW_US + 9 * DAY_US)
    known: Callable[[str], object] = archive.repository.get

    async def ended(name: str) -> object:
        found = await known(name)  # type: ignore[misc]
        return replace(found, state=State.EXPIRED)  # type: ignore[type-var]

    monkeypatch.setattr(archive.repository, "get", ended)
    assert await archive.faults() == []
