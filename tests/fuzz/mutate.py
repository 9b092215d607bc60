"""Mutation without a guide: what runs where atheris is not installed, as in CI."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from fuzz.target import Target

SEEDS: Final = Path(__file__).parent / "seeds"
_INTERESTING: Final = (b"\0", b"\xff", b"\x7f", b"\x80", b"\0\0\0\0", b"\xff\xff\xff\xff", b"$")


def seeds_of(target: Target) -> list[bytes]:
    """The seeds of a target, in the order of their names."""
    return [path.read_bytes() for path in sorted((SEEDS / target.name).glob("*"))]


def inputs(target: Target, chance: random.Random) -> Iterator[bytes]:
    """Inputs without end: each a seed, or an input before it, changed in some places."""
    pool = [seed[: target.max_bytes] for seed in seeds_of(target)]
    while True:
        changed = bytearray(chance.choice(pool))
        for _ in range(1 + int(chance.expovariate(0.7))):
            _change(changed, target.words, pool, chance)
        del changed[target.max_bytes :]
        yield bytes(changed)
        if chance.random() < 0.02 and len(pool) < 500:
            pool.append(bytes(changed))


def _change(
    data: bytearray, words: Sequence[bytes], pool: Sequence[bytes], chance: random.Random
) -> None:
    at = chance.randrange(len(data) + 1)
    end = min(len(data), at + 1 + int(chance.expovariate(0.2)))
    kind = chance.randrange(8)
    if kind == 0 and data:
        data[at % len(data)] ^= 1 << chance.randrange(8)
    elif kind == 1 and data:
        data[at % len(data)] = chance.randrange(256)
    elif kind == 2:
        del data[at:end]
    elif kind == 3:
        data[at:at] = chance.randbytes(1 + int(chance.expovariate(0.3)))
    elif kind == 4:
        data[at:at] = data[at:end] * chance.choice((1, 1, 2, 30))
    elif kind == 5:
        data[at:end] = chance.choice(words or _INTERESTING)
    elif kind == 6:
        data[at:at] = chance.choice((*words, *_INTERESTING))
    else:
        other = chance.choice(pool)
        begin = chance.randrange(len(other) + 1)
        data[at:] = other[begin:]
