from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given

from kernels import reference, unique
from tests.kernels.draws import assert_all_same, assert_same, examples, identities, refusals

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@examples
@given(identities())
def test_duplicates_are_found_exactly(columns: list[NDArray[Any]]) -> None:
    assert_same(unique.duplicates(columns), reference.duplicates(columns))


def test_an_identity_that_occurs_often_names_its_first_entry() -> None:
    pairs = unique.duplicates([np.array([7, 3, 7, 3, 7, 1])])
    assert pairs.tolist() == [[0, 2], [1, 3], [0, 4]]


def test_shuffled_events_without_repeats_have_none() -> None:
    events = np.random.default_rng(5).permutation(20_000)
    assert len(unique.duplicates([events // 100, events % 100])) == 0
    again = np.append(events, events[:3])
    assert unique.duplicates([again // 100, again % 100]).tolist() == [[0, 20_000], [1, 20_001], [2, 20_002]]


@examples
@given(identities(n_columns=2))
def test_sections_are_counted(columns: list[NDArray[Any]]) -> None:
    run, section = (column.astype(np.int64) for column in columns)
    assert_all_same(unique.sections(run, section), reference.sections(run, section))


def test_sections_of_numbers_of_any_type() -> None:
    found, counts = unique.sections(np.array([2, 1, 2], dtype=np.uint32), np.array([5, 5, 5], dtype=np.int16))
    assert found.tolist() == [[1, 5], [2, 5]]
    assert counts.tolist() == [1, 2]


N = np.zeros(3, dtype=np.int64)


@refusals(
    (lambda: unique.duplicates([]), "at least one column"),
    (lambda: unique.duplicates([N, N[:2]]), "columns.0. has 3, columns.1. has 2"),
    (
        lambda: unique.duplicates([N.astype(float)]),
        r"columns\[0\] must be a 1-dimensional array of integers",
    ),
    (lambda: unique.duplicates([N.astype(object)]), r"columns\[0\] must be"),
    (lambda: unique.sections(N, N[:2]), "run has 3, section has 2"),
    (lambda: unique.sections(N == 0, N), "run must be"),
    (lambda: unique.sections(np.array([2**63], dtype=np.uint64), N[:1]), "run holds 9223372036854775808"),
)
def test_wrong_arguments_are_refused_in_words(call: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()
