"""Listings of the directory store: any prefix, in byte order, only the folders it takes."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from long_forms import examples
from vigie.platform.objectstore.listing import list_files

PART = st.text(alphabet="a!-./0zé~", min_size=1, max_size=3).filter(
    lambda text: "/" not in text and text not in {".", ".."}
)
PATHS = st.lists(st.lists(PART, min_size=1, max_size=3).map("/".join), max_size=25)


def only_possible_in_a_folder(paths: list[str]) -> list[str]:
    folders = {path[:index] for path in paths for index, c in enumerate(path) if c == "/"}
    return sorted(set(paths) - folders, key=str.encode)


@settings(max_examples=examples(50), deadline=None)
@given(
    paths=PATHS,
    prefix=st.text(alphabet="a!-./0zé~", max_size=4),
    after=st.text("a!-./0z", max_size=4),
)
def test_any_listing_is_the_sorted_keys_that_match(
    tmp_path_factory: pytest.TempPathFactory, paths: list[str], prefix: str, after: str
) -> None:
    root = tmp_path_factory.mktemp("listing")
    present = only_possible_in_a_folder(paths)
    for path in present:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
    expected = [p for p in present if p.startswith(prefix) and p.encode() > after.encode()]
    assert [key for key, _ in list_files(root, prefix, after)] == expected


def test_listing_reads_only_the_folders_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for camera in range(20):
        for day in range(10):
            folder = tmp_path / "footage" / f"cam-{camera:02}" / f"2026-11-{day:02}"
            folder.mkdir(parents=True)
            (folder / "x").touch()
    visited: list[bytes] = []
    real = os.scandir

    def counting(path: bytes) -> object:
        visited.append(path)
        return real(path)

    monkeypatch.setattr(os, "scandir", counting)
    after = "footage/cam-07/2026-11-07/x"
    listing = list_files(tmp_path, "footage/cam-07/2026-", after)
    assert [key for key, _ in listing] == [f"footage/cam-07/2026-11-0{day}/x" for day in (8, 9)]
    assert len(visited) <= 4
    visited.clear()
    first, _ = next(list_files(tmp_path, "", ""))
    assert first == "footage/cam-00/2026-11-00/x"
    assert len(visited) == 4
