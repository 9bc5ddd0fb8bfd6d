from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import jagged, reference
from tests.kernels.draws import (
    Bytes,
    Index,
    Words,
    assert_all_same,
    assert_same,
    event_counts,
    examples,
    jagged_events,
    refusals,
    stream_masks,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@examples
@given(jagged_events())
def test_gather_picks_events(drawn: tuple[Bytes, Index, Index]) -> None:
    _, offsets, index = drawn
    assert_all_same(jagged.gather(offsets, index), reference.gather(offsets, index))


@examples
@given(jagged_events())
def test_gather_bytes_copies_what_gather_names(drawn: tuple[Bytes, Index, Index]) -> None:
    data, offsets, index = drawn
    assert_all_same(jagged.gather_bytes(data, offsets, index), reference.gather_bytes(data, offsets, index))


@examples
@given(jagged_events())
def test_nested_events_are_gathered_level_by_level(drawn: tuple[Bytes, Index, Index]) -> None:
    data, offsets, index = drawn
    cuts = np.arange(len(offsets)) // 2
    outer = cuts[::2].astype(np.int64)
    events = [
        [data[offsets[j] : offsets[j + 1]].tolist() for j in range(a, b)]
        for a, b in itertools.pairwise(outer)
    ]
    picked = index[index < len(events)]
    outer_offsets, items = jagged.gather(outer, picked)
    values, inner_offsets = jagged.gather_bytes(data, offsets, items)
    got = [
        [values[inner_offsets[j] : inner_offsets[j + 1]].tolist() for j in range(a, b)]
        for a, b in itertools.pairwise(outer_offsets)
    ]
    assert got == [events[i] for i in picked]


@examples
@given(st.data())
def test_take_fixed_picks_rows(data: st.DataObject) -> None:
    n, width = data.draw(event_counts), data.draw(st.integers(0, 20))
    rows = np.random.default_rng(n).integers(0, 256, (n, width), dtype=np.uint8)
    index = np.array(
        data.draw(st.lists(st.integers(0, n - 1), max_size=60) if n else st.just([])), dtype=np.int64
    )
    assert_same(jagged.take_fixed(rows, index), reference.take_fixed(rows, index))


@examples
@given(stream_masks())
def test_partition_lists_each_stream_in_order(drawn: tuple[Words, int]) -> None:
    masks, n_streams = drawn
    got = jagged.partition(masks, n_streams)
    assert len(got) == n_streams
    for mine, wanted in zip(got, reference.partition(masks, n_streams), strict=True):
        assert_same(mine, wanted)


@examples
@given(
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 20), min_size=1, max_size=8),
    st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 8), max_size=8),
)
def test_hostile_offsets_and_indices_give_the_answer_or_a_refusal(
    offsets: list[int], index: list[int]
) -> None:
    data = np.arange(16, dtype=np.uint8)
    ranges = [(offsets[i], offsets[i + 1]) if 0 <= i < len(offsets) - 1 else (1, 0) for i in index]
    bounds, picked = np.array(offsets, dtype=np.int64), np.array(index, dtype=np.int64)
    if all(0 <= start <= stop <= len(data) for start, stop in ranges):
        values, _ = jagged.gather_bytes(data, bounds, picked)
        assert values.tolist() == [v for start, stop in ranges for v in data[start:stop].tolist()]
    else:
        with pytest.raises(ValueError, match=r"index\[|offsets put event"):
            jagged.gather_bytes(data, bounds, picked)


D = np.arange(8, dtype=np.uint8)
O = np.array([0, 3, 8], dtype=np.int64)  # noqa: E741  # offsets
I = np.array([0, 1], dtype=np.int64)  # noqa: E741  # index


@refusals(
    (lambda: jagged.gather(O, I + 1), r"index\[1\] is 2, but there are 2 events"),
    (lambda: jagged.gather(O, I - 1), r"index\[0\] is -1"),
    (lambda: jagged.gather(O[:0], I[:0]), "offsets is empty"),
    (lambda: jagged.gather(O[::-1].copy(), I), r"offsets put event 0 at \[8, 3\)"),
    (lambda: jagged.gather(np.array([0, 2**63 - 1]), I[:1]), "which isn't inside"),
    (lambda: jagged.gather(O - 1, I), r"offsets put event 0 at \[-1, 2\)"),
    (lambda: jagged.gather(O.astype(float), I), "offsets must be a 1-dimensional array of integers"),
    (
        lambda: jagged.gather(O, np.array([True, False])),
        "index must be a 1-dimensional array of integers",
    ),
    (lambda: jagged.gather(np.array([0, 2**47]), np.zeros(3, dtype=np.int64)), "more than"),
    (lambda: jagged.gather(np.array([0, 2**63], dtype=np.uint64), I), "beyond a signed 64-bit"),
    (lambda: jagged.gather_bytes(D[:7], O, I), r"event 1 at \[3, 8\), which isn't inside \[0, 7\)"),
    (lambda: jagged.gather_bytes(D.astype(np.int8), O, I), "data must be a 1-dimensional array of uint8"),
    (lambda: jagged.gather_bytes(D.reshape(2, 4), O, I), "data must be a 1-dimensional"),
    (lambda: jagged.take_fixed(D.reshape(2, 4), I + 1), r"index must lie in \[0, 2\), found \[1, 2\]"),
    (lambda: jagged.take_fixed(D.reshape(2, 4), I - 1), "index must lie in"),
    (lambda: jagged.take_fixed(D, I), "data must be a 2-dimensional"),
    (lambda: jagged.partition(np.array([4], dtype=np.uint64), 2), "bit 2 set, but there are 2 streams"),
)
def test_wrong_arguments_are_refused_in_words(call: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()
