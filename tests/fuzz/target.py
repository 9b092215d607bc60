"""What a fuzz target is: a function of bytes that succeeds, or raises what it declares."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

CAMERA_RUNS: Final = 1_000_000
OTHER_RUNS: Final = 200_000


class BrokenPromiseError(AssertionError):
    """A target took its input, and what came of it is not what the parser promises."""


@dataclass(frozen=True, slots=True)
class Target:
    """One parser and what must hold of it.

    Attributes:
        name: of the folder of its seeds, too.
        run: takes any bytes; what it raises beyond ``declared`` is a defect.
        declared: the errors by which this parser refuses.
        from_camera: whether a camera can send these bytes (then a million inputs, else 200 000).
        max_bytes: the longest input that is tried.
        words: pieces of the format, for mutation.
    """

    name: str
    run: Callable[[bytes], None]
    declared: tuple[type[Exception], ...]
    from_camera: bool
    max_bytes: int = 2048
    words: tuple[bytes, ...] = ()

    @property
    def runs(self) -> int:
        """Inputs of the long form."""
        return CAMERA_RUNS if self.from_camera else OTHER_RUNS

    def __call__(self, data: bytes) -> None:
        """Run one input; whatever it raises is a defect."""
        try:
            self.run(data)
        except self.declared:
            return


def promise(holds: object, what: str) -> None:
    """Raise when ``holds`` is false: ``assert`` that no optimisation takes out."""
    if not holds:
        raise BrokenPromiseError(what)
