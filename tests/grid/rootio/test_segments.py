"""Columns told piece by piece, in any order, come out whole, and are not held longer than that takes."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid.rootio.verbatim import segments
from grid.rootio.verbatim.segments import Segments

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@given(
    st.integers(1, 60),
    st.lists(st.lists(st.integers(1, 59), max_size=6), min_size=2, max_size=2),
    st.randoms(use_true_random=False),
)
def test_every_event_is_handed_on_once(entries: int, cuts: list[list[int]], shuffled: Any) -> None:
    columns: list[NDArray[Any]] = [
        np.arange(entries, dtype=np.uint32),
        np.arange(entries, dtype=np.int64) * -7,
    ]
    pieces = []
    for number, at in enumerate(cuts):
        edges = [0, *sorted({cut for cut in at if cut < entries}), entries]
        pieces += [(number, first, stop) for first, stop in pairwise(edges)]
    shuffled.shuffle(pieces)
    seen: list[tuple[int, int]] = []

    def done(some: Sequence[NDArray[Any]]) -> None:
        assert [column.dtype for column in some] == [np.uint32, np.int64]
        seen.extend(zip(*(column.tolist() for column in some), strict=True))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "_EVENTS", 8)
        held = Segments(entries, {0: np.dtype(">u4"), 1: np.dtype(">i8")}, done)
        for number, first, stop in pieces:
            held.put(
                number, first, columns[number][first:stop].astype(columns[number].dtype.newbyteorder(">"))
            )
    assert sorted(seen) == list(zip(*(column.tolist() for column in columns), strict=True))


def test_what_is_whole_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "_EVENTS", 10)
    seen: list[int] = []
    held = Segments(25, {0: np.dtype(">u8"), 1: np.dtype(">u8")}, lambda some: seen.append(len(some[0])))
    for first in range(0, 25, 5):
        for column in (0, 1):
            held.put(column, first, np.zeros(5, ">u8"))
        assert len(seen) == (first + 5) // 10 + (first == 20)
    assert seen == [10, 10, 5]
