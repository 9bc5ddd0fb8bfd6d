from __future__ import annotations

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from kernels import xxh64
from tests.kernels.draws import examples


@examples
@given(st.binary(max_size=300), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=10))
def test_it_is_the_xxh64_of_each_stretch(data: bytes, drawn: list[tuple[int, int]]) -> None:
    stretches = [sorted((min(one, len(data)), min(two, len(data)))) for one, two in drawn]
    begins, ends = np.array(stretches, np.int64).reshape(-1, 2).T
    found = xxh64.digests(np.frombuffer(data, np.uint8), begins, ends)
    assert found.tolist() == [xxhash.xxh64_intdigest(data[begin:end]) for begin, end in stretches]


@pytest.mark.parametrize("length", [*range(70), 1000, 99_999])
def test_every_length(length: int) -> None:
    data = np.random.default_rng(length).integers(0, 256, length + 3, dtype=np.uint8)
    found = xxh64.digests(data, np.array([3]), np.array([length + 3]))
    assert found[0] == xxhash.xxh64_intdigest(data[3:].tobytes())


@pytest.mark.parametrize(("begin", "end"), [(-1, 2), (3, 2), (0, 11), (11, 11)])
def test_stretches_lie_in_the_data(begin: int, end: int) -> None:
    with pytest.raises(ValueError, match="stretch 1 lies at"):
        xxh64.digests(np.zeros(10, np.uint8), np.array([0, begin]), np.array([10, end]))
