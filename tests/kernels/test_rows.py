from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import reference, rows
from tests.kernels.draws import examples

numbers = st.one_of(st.integers(-3, 3), st.integers(-(2**31), 2**31 - 1))


@examples
@given(st.lists(st.tuples(st.lists(numbers, max_size=6), st.booleans(), numbers, numbers), max_size=6))
def test_falling(drawn: list[tuple[list[int], bool, int, int]]) -> None:
    lists = [sorted(row) if tidy else row for row, tidy, _, _ in drawn]
    least, most = (np.array([row[i] for row in drawn], np.int64) for i in (2, 3))
    bad = [
        i
        for i, row in enumerate(lists)
        if row != sorted(row) or any(not least[i] <= number <= most[i] for number in row)
    ]
    counts = np.array([len(row) for row in lists], np.int64)
    data = np.frombuffer(b"xyz" + np.array([n for row in lists for n in row], ">i4").tobytes(), np.uint8)
    begins = 3 + 4 * (np.cumsum(counts) - counts)
    wanted = bad[0] if bad else -1
    assert rows.falling(data, begins, counts, least, most) == wanted
    assert reference.falling(data, begins, counts, least, most) == wanted


@pytest.mark.parametrize(("begin", "count"), [(-1, 1), (0, -1), (0, 3), (7, 1), (12, 0)])
def test_rows_lie_in_the_data(begin: int, count: int) -> None:
    zero = np.array([0])
    with pytest.raises(ValueError, match="row 0 has"):
        rows.falling(np.zeros(10, np.uint8), np.array([begin]), np.array([count]), zero, zero)
