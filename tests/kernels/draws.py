"""What hypothesis draws for the kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "Bytes",
    "Index",
    "Words",
    "assert_all_same",
    "assert_same",
    "event_counts",
    "examples",
    "flags",
    "identities",
    "jagged_events",
    "refusals",
    "stream_masks",
    "words_of",
]

Words = NDArray[np.uint64]
Index = NDArray[np.int64]
Bytes = NDArray[np.uint8]

#: A loaded machine may be slow; hypothesis then blames the example.
examples = settings(deadline=None, max_examples=40)

event_counts = st.integers(0, 40)
INTEGERS: list[type[np.integer[Any]]] = [
    np.int8,
    np.uint8,
    np.int16,
    np.uint16,
    np.int32,
    np.uint32,
    np.int64,
    np.uint64,
]


def assert_all_same(got: tuple[NDArray[Any], ...], wanted: tuple[NDArray[Any], ...]) -> None:
    """`assert_same` for each."""
    for mine, other in zip(got, wanted, strict=True):
        assert_same(mine, other)


def assert_same(got: NDArray[Any], wanted: NDArray[Any]) -> None:
    """Same values, shape and dtype."""
    assert got.dtype == wanted.dtype
    assert got.shape == wanted.shape
    np.testing.assert_array_equal(got, wanted)


def refusals(*cases: tuple[Callable[[], object], str]) -> pytest.MarkDecorator:
    """Calls that must raise, and what the sentence says."""
    return pytest.mark.parametrize(
        ("call", "says"), cases, ids=[f"{k}: {case[1]}" for k, case in enumerate(cases)]
    )


def flags(n: int, most_bits: int = 200) -> st.SearchStrategy[NDArray[np.bool_]]:
    return st.integers(0, most_bits).flatmap(lambda b: hnp.arrays(np.bool_, (n, b)))


def words_of(*shape: int) -> st.SearchStrategy[Words]:
    """Words whose bits are sparse as often as dense."""
    sparse = st.integers(0, 63).map(lambda bit: 1 << bit) | st.just(0)
    return hnp.arrays(np.uint64, shape, elements=sparse | st.integers(0, 2**64 - 1))


@st.composite
def stream_masks(draw: st.DrawFn) -> tuple[Words, int]:
    """Stream masks of a few events, and the number of streams."""
    n_streams = draw(st.integers(0, 64))
    elements = st.integers(0, 2**n_streams - 1) | st.integers(0, min(3, 2**n_streams - 1))
    masks = draw(hnp.arrays(np.uint64, draw(event_counts), elements=elements))
    return masks, n_streams


@st.composite
def jagged_events(draw: st.DrawFn) -> tuple[Bytes, Index, Index]:
    """Bytes, offsets of events in them, and an index with repeats, neighbours and any order."""
    lengths = draw(hnp.arrays(np.int64, draw(event_counts), elements=st.integers(0, 30) | st.just(0)))
    offsets = np.concatenate(([draw(st.integers(0, 5))], lengths)).cumsum()
    n_bytes = int(offsets[-1]) + draw(st.integers(0, 5))
    data = np.random.default_rng(draw(st.integers(0, 99))).integers(0, 256, n_bytes, dtype=np.uint8)
    n = len(lengths)
    if not n:
        return data, offsets, np.empty(0, dtype=np.int64)
    anywhere = hnp.arrays(np.int64, st.integers(0, 60), elements=st.integers(0, n - 1))
    in_order = hnp.arrays(np.bool_, n).map(np.flatnonzero)
    return data, offsets, draw(anywhere | in_order)


@st.composite
def identities(draw: st.DrawFn, n_columns: int | None = None) -> list[NDArray[Any]]:
    """Columns of integers of mixed types, drawn so that events do repeat."""
    n = draw(event_counts)
    columns = []
    for _ in range(n_columns or draw(st.integers(1, 4))):
        dtype = draw(st.sampled_from(INTEGERS))
        limits = np.iinfo(dtype)
        elements = st.integers(0, 3) | st.sampled_from([int(limits.min), int(limits.max)])
        columns.append(draw(hnp.arrays(dtype, n, elements=elements)))
    return columns
