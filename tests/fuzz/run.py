"""Coverage-guided fuzzing of every parser: ``make fuzz``.

Each target runs in a process of its own under atheris (libFuzzer over Python byte code), from the
seeds of `tests/fuzz/seeds` and the corpus that earlier runs left in ``build/fuzz``. A found case
does not end the run: it is kept in ``build/fuzz/TARGET/found``, one for each place that failed.

    python tests/fuzz/run.py [TARGET ...] [--runs N] [--seed N]
"""

import argparse
import gc
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from fuzz.coverage import Coverage

ROOT: Final = Path(__file__).resolve().parents[2]
BUILD: Final = ROOT / "build" / "fuzz"
SEEDS: Final = ROOT / "tests" / "fuzz" / "seeds"
SLOW_SECONDS: Final = 1.0
"""What takes more than this for less than 64 KiB is a defect, too."""
_MEMORY_MB: Final = 2048
_LIMIT_SECONDS: Final = 60
_GARBAGE: Final = 20_000  # objects before cycles are looked for
_COVERAGE: Final = re.compile(r"^#\d+.*cov: (\d+) ft: (\d+) corp: (\d+)", re.MULTILINE)
_DONE: Final = re.compile(r"^Done (\d+) runs", re.MULTILINE)

sys.path[:0] = [str(ROOT / "services"), str(ROOT / "tests")]


class Keeper:
    """Runs inputs of one target and keeps those that break a promise.

    Args:
        run: the target.
        folder: where found inputs go.
        coverage: is told when an input begins and ends.
    """

    def __init__(self, run: Callable[[bytes], None], folder: Path, coverage: "Coverage") -> None:
        self._run = run
        self._coverage = coverage
        self._folder = folder
        self._places: set[str] = set()

    def __call__(self, data: bytes) -> None:
        """One input."""
        self._coverage.begin()
        started = time.process_time()
        try:
            self._run(data)
        except Exception as error:  # noqa: BLE001 - whatever escapes a target is what is looked for
            self._keep(data, _place(error), traceback.format_exc(limit=-6))
        elapsed = time.process_time() - started
        if elapsed > SLOW_SECONDS:
            self._keep(data, "slow", f"{elapsed:.1f} s for {len(data)} bytes")
        self._coverage.end()

    def _keep(self, data: bytes, place: str, text: str) -> None:
        if place in self._places:
            return
        self._places.add(place)
        self._folder.mkdir(parents=True, exist_ok=True)
        name = hashlib.sha256(data).hexdigest()[:12]
        (self._folder / name).write_bytes(data)
        (self._folder / f"{name}.txt").write_text(f"{place}\n{text}", encoding="utf-8")
        print(f"FOUND {place} {self._folder / name}", file=sys.stderr, flush=True)


def _place(error: Exception) -> str:
    """Type of the error and where it came from: what makes one found case out of many inputs."""
    frames = [
        f
        for f in traceback.extract_tb(error.__traceback__)
        if str(ROOT) in f.filename and not f.filename.endswith("fuzz/target.py")
    ]
    ours = [f for f in frames if "/services/" in f.filename] or frames
    last, outer = ours[-1], frames[-1]
    return f"{type(error).__name__} {Path(last.filename).name}:{last.lineno} {outer.lineno}"


def fuzz(name: str, runs: int, seed: int) -> None:
    """Fuzz one target in this process; does not return."""
    import atheris

    from fuzz.catalogue import SCENARIOS, load
    from fuzz.coverage import Coverage, remember_parameter_sets

    coverage, is_scenario = Coverage(), name in SCENARIOS
    if not is_scenario:
        atheris.enabled_hooks.add("str")
    with coverage.instrumented("vigie", exclude=SCENARIOS.get(name, ()), compares=not is_scenario):
        target = load(name)
    if is_scenario:
        remember_parameter_sets()
    gc.freeze()  # what was imported stays
    gc.set_threshold(_GARBAGE)
    folder = BUILD / name
    corpus, seeds = folder / "corpus", SEEDS / name
    corpus.mkdir(parents=True, exist_ok=True)
    words = folder / "words"
    dictionary = [f"-dict={words}"] if target.words else []
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in target.words), encoding="ascii")
    options = [
        f"-runs={runs}", f"-seed={seed}", f"-max_len={target.max_bytes}",
        f"-timeout={_LIMIT_SECONDS}", f"-rss_limit_mb={_MEMORY_MB}", "-print_final_stats=1",
        f"-artifact_prefix={folder}/", "-reload=0", *dictionary,
    ]  # fmt: skip
    inputs = [str(corpus), *([str(seeds)] if seeds.is_dir() else [])]
    atheris.Setup([sys.argv[0], *options, *inputs], Keeper(target, folder / "found", coverage))
    atheris.Fuzz()


def _escaped(word: bytes) -> str:
    return "".join(chr(c) if 32 <= c < 127 and c not in b'"\\' else f"\\x{c:02x}" for c in word)


def run_one(name: str, runs: int, seed: int) -> dict[str, Any]:
    """Fuzz one target in a process of its own; what came of it."""
    started = time.monotonic()
    command = [sys.executable, __file__, "--child", name, "--runs", str(runs), "--seed", str(seed)]
    log = BUILD / name / "log.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with log.open("wb") as output:
        code = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    text = log.read_text(encoding="utf-8", errors="replace")
    coverage, done = _COVERAGE.findall(text), _DONE.search(text)
    found = sorted(line.split(" ", 1)[1] for line in text.splitlines() if line.startswith("FOUND "))
    return {
        "target": name, "inputs": int(done[1]) if done else 0, "seed": seed,
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(after.ru_utime - before.ru_utime, 1),
        "edges": int(coverage[-1][0]) if coverage else 0,
        "corpus": int(coverage[-1][2]) if coverage else 0,
        "found": found, "ended": "done" if code == 0 and done else f"exit {code}, see {log}",
    }  # fmt: skip


def report(results: Iterable[dict[str, Any]]) -> str:
    """A table for people."""
    head = (
        f"{'target':<22}{'inputs':>10}{'inputs/s':>10}{'edges':>8}{'corpus':>8}{'found':>7}  ended"
    )
    lines = [head]
    for each in results:
        rate = each["inputs"] / max(each["cpu_seconds"], 0.1)
        lines.append(
            f"{each['target']:<22}{each['inputs']:>10}{rate:>10.0f}{each['edges']:>8}"
            f"{each['corpus']:>8}{len(each['found']):>7}  {each['ended']}"
        )
        lines += [f"    {case}" for case in each["found"]]
    return "\n".join(lines)


def main() -> int:
    """Fuzz; 1 when something was found or a target did not come to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", help="all when none is named")
    parser.add_argument("--runs", type=int, default=0, help="inputs a target; 0: the long form")
    parser.add_argument("--seed", type=int, default=0, help="of chance; 0: another each time")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    seed = options.seed or int.from_bytes(os.urandom(3), "big") + 1
    if options.child:
        fuzz(options.child, options.runs, seed)
    from fuzz.catalogue import NAMES, load

    unknown = [name for name in options.targets if name not in NAMES]
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(NAMES)}")
    results = []
    for name in options.targets or NAMES:
        print(f"==> {name}", flush=True)
        results.append(run_one(name, options.runs or load(name).runs, seed))
        print(report(results[-1:]).split("\n", 1)[1], flush=True)
        with (BUILD / "results.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(results[-1]) + "\n")
    print(f"\nseed {seed}\n{report(results)}")
    return int(any(each["found"] or each["ended"] != "done" for each in results))


if __name__ == "__main__":
    sys.exit(main())
