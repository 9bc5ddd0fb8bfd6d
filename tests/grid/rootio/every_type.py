"""A tree with one branch of every kind that the writer knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.columns import Branch, Column

if TYPE_CHECKING:
    from numpy.typing import NDArray

NUMBERS = ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8")
COUNTERS = ("u4", "i4", "i1", "u2", "i8")


class EveryType:
    """Branches, and their columns for `entries` entries drawn from a seed."""

    def __init__(self, entries: int, seed: int = 1) -> None:
        self.entries = entries
        self.branches: list[Branch] = []
        self.columns: dict[str, Column] = {}
        self._random = np.random.default_rng(seed)
        offsets = {kind: self._counter(kind) for kind in COUNTERS}
        for kind in NUMBERS:
            self._number(f"flat_{kind}", kind, ())
            self._number(f"fixed_{kind}", kind, (2, 3))
            shared = COUNTERS[len(self.branches) % len(COUNTERS)]
            counter = f"n_{shared}"
            self._number(f"counted_{kind}", kind, (), offsets[shared], counter)
            self._number(f"counted_fixed_{kind}", kind, (3,), offsets[shared], counter)
            self._number(f"vector_{kind}", kind, (), offsets["u4"])
        inner = self._offsets(int(offsets["u4"][-1]), 4)
        self._add("nested", "f4", self._values("f4", int(inner[-1])), (offsets["u4"], inner), jagged=2)
        self._text("letters", (), 250, typename="char*")
        self._text("string", (), 400, typename="std::string")
        self._text("strings", (offsets["u4"],), 300, jagged=1)
        self._text("nested_strings", (offsets["u4"], inner), 20, jagged=2)

    def slice(self, start: int, stop: int) -> dict[str, Column]:
        return {name: column.slice(start, stop) for name, column in self.columns.items()}

    def _offsets(self, lists: int, most: int) -> NDArray[np.int64]:
        offsets = np.zeros(lists + 1, np.int64)
        np.cumsum(self._random.integers(0, most, lists), out=offsets[1:])
        return offsets

    def _counter(self, kind: str) -> NDArray[np.int64]:
        offsets = self._offsets(self.entries, 6)
        self._add(f"n_{kind}", kind, np.diff(offsets))
        return offsets

    def _values(self, kind: str, *shape: int) -> NDArray[Any]:
        dtype = np.dtype(kind)
        if dtype.kind == "f":
            return self._random.normal(size=shape).astype(dtype)
        if dtype.kind == "b":
            return self._random.integers(0, 2, shape).astype(dtype)
        limits = np.iinfo(dtype)
        return self._random.integers(limits.min, limits.max, shape, dtype, endpoint=True)

    def _number(
        self,
        name: str,
        kind: str,
        shape: tuple[int, ...],
        offsets: NDArray[np.int64] | None = None,
        counter: str | None = None,
    ) -> None:
        count = self.entries if offsets is None else int(offsets[-1])
        levels = () if offsets is None else (offsets,)
        values = self._values(kind, count, *shape)
        self._add(name, kind, values, levels, shape=shape, jagged=len(levels), counter=counter)

    def _text(
        self, name: str, levels: tuple[NDArray[np.int64], ...], most: int, jagged: int = 0, typename: str = ""
    ) -> None:
        count = int(levels[-1][-1]) if levels else self.entries
        offsets = self._offsets(count, most)
        letters = self._random.integers(97, 123, int(offsets[-1]))
        self._add(name, "u1", letters, (*levels, offsets), jagged=jagged, text=True, typename=typename)

    def _add(
        self,
        name: str,
        kind: str,
        values: NDArray[Any],
        offsets: tuple[NDArray[np.int64], ...] = (),
        **options: Any,
    ) -> None:
        title = f"what {name} means: 50 % \N{GREEK SMALL LETTER MU}"
        self.branches.append(Branch(name, title, np.dtype(kind), **options))
        self.columns[name] = Column(np.ascontiguousarray(values, np.dtype(kind)), offsets)
