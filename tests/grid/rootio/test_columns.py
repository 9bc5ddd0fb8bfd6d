from __future__ import annotations

from typing import Any

import awkward as ak
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.rootio.columns import Branch, Column

FLAT = Branch("x", "x", np.dtype("f4"))
FIXED = Branch("x", "x", np.dtype("f8"), (3,))
LIST = Branch("x", "x", np.dtype("i4"), jagged=1)
NESTED = Branch("x", "x", np.dtype("i4"), jagged=2)
TEXTS = Branch("x", "x", np.dtype("u1"), jagged=1, text=True)

numbers = st.integers(-1000, 1000)
lists = st.lists(st.lists(numbers, max_size=4), max_size=8)
nested = st.lists(st.lists(st.lists(numbers, max_size=3), max_size=3), max_size=8)


def column(value: list[Any], branch: Branch) -> Column:
    return Column.from_awkward(ak.values_astype(ak.Array(value), branch.dtype), branch)


def lists_of(value: Column, branch: Branch) -> list[Any]:
    plain: list[Any] = value.to_awkward(text=branch.text).to_list()
    return plain


@settings(deadline=None)
@given(value=st.one_of(lists, nested), data=st.data())
def test_take_slice_and_concatenate_do_what_python_lists_do(value: list[Any], data: st.DataObject) -> None:
    branch = NESTED if any(isinstance(x, list) for one in value for x in one) else LIST
    whole = column(value, branch)
    assert lists_of(whole, branch) == value
    index = data.draw(st.lists(st.integers(0, len(value) - 1), max_size=10) if value else st.just([]))
    assert lists_of(whole.take(np.asarray(index, np.int64)), branch) == [value[i] for i in index]
    cut = data.draw(st.integers(0, len(value)))
    parts = [whole.slice(0, cut), whole.slice(cut, len(value))]
    assert [len(part) for part in parts] == [cut, len(value) - cut]
    assert lists_of(Column.concatenate(parts), branch) == value


@settings(deadline=None)
@given(value=nested.filter(len))
def test_content_tells_every_change_and_nothing_else(value: list[Any]) -> None:
    whole = column(value, NESTED)
    hashes = whole.content(7)
    assert hashes.dtype == np.uint64
    for i in range(len(value)):
        alone = column([value[i]], NESTED).content(7)
        assert alone[0] == hashes[i], "an entry's hash depends on the entry alone"
    same = {str(one): int(h) for one, h in zip(value, hashes, strict=True)}
    assert len(set(same.values())) == len(same), "different entries have different hashes"
    assert not (whole.content(8) == hashes).any()


def test_content_sees_structure_not_only_values() -> None:
    one = column([[[1, 2], [3]], [[1], [2, 3]], [[1, 2, 3]], [[1, 2], [3], []]], NESTED).content(1)
    assert len(set(one.tolist())) == 4


def test_text_round_trip() -> None:
    value = [["ab", ""], [], ["c" * 300]]
    made = Column.from_awkward(ak.Array(value), TEXTS)
    assert made.values.dtype == np.uint8
    assert lists_of(made, TEXTS) == value
    assert lists_of(made.take(np.array([2, 0])), TEXTS) == [value[2], value[0]]


def test_fixed_inner_dimensions_survive() -> None:
    values = np.arange(12.0).reshape(4, 3)
    made = Column.from_awkward(ak.Array(values), FIXED)
    assert made.values.shape == (4, 3)
    assert Column.from_awkward(made.to_awkward()[[True, False, True, True]], FIXED).values.tolist() == [
        values[0].tolist(),
        values[2].tolist(),
        values[3].tolist(),
    ]


@pytest.mark.parametrize(
    ("array", "branch"),
    [
        (ak.Array([1, 2]), FLAT),
        (ak.Array([[1.0]]), FLAT),
        (ak.values_astype(ak.Array([1.0, None]), np.float32), FLAT),
        (ak.Array([{"a": 1}]), FLAT),
        (ak.Array(["text"]), LIST),
        (ak.values_astype(ak.Array([[1, 2]]), np.int64), LIST),
        (ak.values_astype(ak.Array([1, 2]), np.int32), LIST),
        (ak.Array(np.zeros((2, 4))), FIXED),
    ],
)
def test_what_is_of_another_type_is_refused(array: ak.Array, branch: Branch) -> None:
    with pytest.raises(ValueError, match="x "):
        Column.from_awkward(array, branch)


def test_an_index_outside_is_refused() -> None:
    made = column([[1], [2, 3]], LIST)
    with pytest.raises((ValueError, IndexError)):
        made.take(np.array([2]))


def test_parts_of_different_types_are_not_joined() -> None:
    with pytest.raises(ValueError, match="different types"):
        Column.concatenate([column([[1]], LIST), FLAT.empty()])
    with pytest.raises(ValueError, match="nothing"):
        Column.concatenate([])


def test_empty_columns_have_the_right_shape() -> None:
    assert len(FIXED.empty()) == 0
    assert FIXED.empty().values.shape == (0, 3)
    assert [len(level) for level in NESTED.empty().offsets] == [1, 1]
    assert TEXTS.levels == 2
