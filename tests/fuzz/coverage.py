"""Cheap coverage for the fuzzer: what instrumented code does a hundred thousand times a second.

atheris counts each edge by a call into C++ that costs a third of a microsecond, and traces each
comparison by one that costs a whole one: three quarters of the time of a target. Here an edge costs
one `list.append`; what was passed is counted after each input, into counters that libFuzzer was
told of like those of any compiled module (Clang's SanitizerCoverage: ``8bit_counters``, ``pcs``).
"""

import ctypes
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Final

_MOST: Final = 255  # a counter is one byte


class Coverage:
    """The edges of the instrumented modules, and how often an input passed each of them.

    One in a process: it takes the place of atheris' own counters.
    """

    def __init__(self) -> None:
        import atheris

        self._fuzzer = atheris
        self._edges = 0
        self._passed: list[int] = []
        self._counters = bytearray()
        self._shared: list[object] = []  # what libFuzzer points to lives as long as this

    @contextmanager
    def instrumented(
        self, package: str, *, exclude: Collection[str] = (), compares: bool = True
    ) -> Iterator[None]:
        """Instrument what is imported inside.

        Args:
            package: whose modules are instrumented.
            exclude: its modules that are not.
            compares: trace the operands of comparisons, too, for mutations that make them equal.
        """
        from atheris import import_hook

        self._fuzzer._reserve_counter = self._reserve
        self.begin()
        with import_hook.HookManager({package}, set(exclude), False, compares):
            yield
        self._share()

    def _reserve(self) -> int:
        self._edges += 1
        return self._edges - 1

    def _share(self) -> None:
        """Tell libFuzzer where the counters are, with an address for each that is nobody's."""
        from atheris import core_with_libfuzzer

        self._counters = bytearray(self._edges)
        counters = (ctypes.c_uint8 * self._edges).from_buffer(self._counters)
        table = (ctypes.c_size_t * (2 * self._edges))(
            *(word for edge in range(self._edges) for word in (edge + 1, 0))
        )
        self._shared += [counters, table]
        fuzzer = ctypes.CDLL(core_with_libfuzzer.__file__)
        for tell, area in (
            ("__sanitizer_cov_8bit_counters_init", counters),
            ("__sanitizer_cov_pcs_init", table),
        ):
            begin = ctypes.addressof(area)
            fuzzer[tell](ctypes.c_void_p(begin), ctypes.c_void_p(begin + ctypes.sizeof(area)))
        self._passed.clear()

    def begin(self) -> None:
        """An input comes. Each time, for atheris puts its own way back in place when it begins."""
        self._fuzzer._trace_branch = self._passed.append

    def end(self) -> None:
        """An input has been run: count what it passed. libFuzzer clears the counters itself."""
        counters = self._counters
        for edge, times in Counter(self._passed).items():
            counters[edge] = min(times, _MOST)
        self._passed.clear()


def remember_parameter_sets() -> None:
    """Read each parameter set once: a pure function of its bytes, for streams with ever the same.

    Only where its modules are not instrumented: what is remembered passes no edge. A refusal is
    not remembered.
    """
    from vigie.media import h264, h265

    for module in (h264, h265):
        for name in ("parse_sps", "pps_identifiers", "vps_identifier", "build_configuration"):
            if hasattr(module, name):
                setattr(module, name, lru_cache(256)(getattr(module, name)))
