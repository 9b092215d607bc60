"""Every seed and every case that was ever found, through its target: none breaks a promise."""

import time
from importlib import import_module
from pathlib import Path

import pytest

from fuzz.catalogue import GROUPS, NAMES, load
from fuzz.target import BrokenPromiseError, Target, promise

SEEDS = Path(__file__).parent / "seeds"
CASES = [(name, path) for name in NAMES for path in sorted((SEEDS / name).glob("*"))]


@pytest.mark.parametrize(
    ("name", "path"), CASES, ids=[f"{name}/{path.name}" for name, path in CASES]
)
def test_a_seed_breaks_no_promise(name: str, path: Path) -> None:
    target = load(name)  # its modules are imported here, before the time is taken
    started = time.process_time()
    target(path.read_bytes())
    assert time.process_time() - started < 5, "seconds of processor for a small input"


def test_every_target_has_seeds_and_every_seed_a_target() -> None:
    assert {path.name for path in SEEDS.iterdir()} == set(NAMES)
    assert all(any((SEEDS / name).iterdir()) for name in NAMES)


@pytest.mark.parametrize("group", GROUPS)
def test_the_catalogue_names_every_target_of_a_group(group: str) -> None:
    targets = import_module(f"fuzz.{group}").TARGETS
    assert [target.name for target in targets] == list(GROUPS[group])
    assert all(load(target.name) is target for target in targets)


def test_seeds_are_small() -> None:
    sizes = [path.stat().st_size for path in SEEDS.rglob("*") if path.is_file()]
    assert max(sizes) <= 100_000
    assert sum(sizes) < 1_000_000


def test_a_target_lets_pass_what_is_declared_and_nothing_else() -> None:
    def run(data: bytes) -> None:
        if data == b"refused":
            raise KeyError("declared")
        promise(data != b"broken", "not broken")

    target = Target("example", run, (KeyError,), from_camera=False)
    target(b"refused")
    with pytest.raises(BrokenPromiseError, match="not broken"):
        target(b"broken")
