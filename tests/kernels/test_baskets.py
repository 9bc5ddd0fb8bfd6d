from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import baskets, content, reference
from tests.kernels.draws import assert_same, examples

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

#: Where the list of a basket counts from.
SHIFT = 77

rows = st.lists(st.binary(max_size=20), max_size=6)
forms = st.sampled_from(["offsets", "sizes"])
#: The entries of a basket, and how it says where they are: by their one length, if they have one.
drawn_baskets = st.tuples(rows, forms) | st.tuples(
    st.integers(1, 9).flatmap(lambda width: st.lists(st.binary(min_size=width, max_size=width), min_size=1)),
    st.just("fixed"),
)
many = st.lists(drawn_baskets.filter(lambda one: bool(one[0])), max_size=5)


def laid(rows: Sequence[bytes], form: str) -> bytes:
    """Return a basket as a file has it, unpacked."""
    data = b"".join(rows)
    if form == "fixed":
        return data
    lengths = [len(row) for row in rows]
    begins = [SHIFT + sum(lengths[:number]) for number in range(len(rows))]
    listed = begins if form == "offsets" else [12345, *lengths[:-1]]
    return data + struct.pack(f">{len(rows) + 2}i", len(rows) + 1, *listed, 0)


def put(drawn: Sequence[tuple[Sequence[bytes], str]]) -> tuple[NDArray[np.uint8], baskets.Lie]:
    """Return baskets behind each other, with something between them."""
    parts = [laid(rows, form) for rows, form in drawn]
    places = np.cumsum([3, *(len(part) + 2 for part in parts)])[:-1]
    ends = [len(b"".join(rows)) for rows, _ in drawn]
    counts = [len(rows) for rows, _ in drawn]
    data = b"xyz" + b"".join(part + b"--" for part in parts)
    sizes, as_sizes = [len(part) for part in parts], [form == "sizes" for _, form in drawn]
    return np.frombuffer(data, np.uint8), lie_of(places, sizes, ends, counts, as_sizes)


def lie_of(begins: Any, sizes: Any, ends: Any, counts: Any, as_sizes: Any) -> baskets.Lie:
    columns = [np.array(column, np.int64) for column in (begins, sizes, ends, counts)]
    return baskets.Lie._make([*columns, np.full(len(counts), SHIFT), np.array(as_sizes, np.bool_)])


def by_reference(data: NDArray[np.uint8], lie: baskets.Lie, salts: NDArray[np.uint64]) -> Any:
    columns: list[Any] = list(lie)
    begins, sizes, ends, counts, shifts, as_sizes = columns
    return reference.basket_hashes(data, begins, sizes, ends, counts, shifts, as_sizes, salts)


def salts_of(number: int) -> NDArray[np.uint64]:
    return np.array([content.salt_of(str(k)) for k in range(number)], np.uint64)


@examples
@given(many)
def test_entries_have_the_hashes_of_their_bytes(drawn: list[tuple[list[bytes], str]]) -> None:
    data, lie = put(drawn)
    salts = salts_of(len(drawn))
    wanted = [np.zeros(0, np.uint64)]
    for (entries, _), salt in zip(drawn, salts, strict=True):
        edges = np.cumsum([0, *map(len, entries)])
        held = np.frombuffer(b"".join(entries), np.uint8)
        wanted.append(reference.jagged(edges[:-1], edges[1:], held, salt))
    for bad, found in (baskets.hashes(data, lie, salts), by_reference(data, lie, salts)):
        assert bad == -1
        assert_same(found, np.concatenate(wanted))


def test_a_branch_of_bytes_is_looked_up() -> None:
    drawn = [([bytes((k % 256,)) for k in range(1000)], "fixed")]
    data, lie = put(drawn)
    _, found = baskets.hashes(data, lie, salts_of(1))
    assert_same(found, reference.fixed(data[3:-2].reshape(-1, 1), salts_of(1)[0]))


def broken(form: str, at: int, number: int) -> tuple[NDArray[np.uint8], baskets.Lie]:
    """Return two baskets, a number of the second one's list overwritten."""
    data, lie = put([([b"abc", b"de"], form), ([b"abc", b"", b"de"], form)])
    changed = bytearray(data.tobytes())
    struct.pack_into(">i", changed, int(lie.begins[1]) + 5 + 4 * at, number)
    return np.frombuffer(bytes(changed), np.uint8), lie


@pytest.mark.parametrize(
    ("form", "at", "number"),
    [
        ("offsets", 0, 3),
        ("offsets", 0, -4),
        ("offsets", 0, 1 << 30),
        ("offsets", 1, SHIFT - 1),
        ("offsets", 1, SHIFT + 4),
        ("offsets", 2, SHIFT + 6),
        ("offsets", 2, -(1 << 31)),
        ("offsets", 3, SHIFT + 2),
        ("offsets", 3, SHIFT + 6),
        ("sizes", 0, 5),
        ("sizes", 2, -1),
        ("sizes", 2, 6),
        ("sizes", 3, (1 << 31) - 1),
    ],
)
def test_a_list_that_contradicts_its_basket_is_found(form: str, at: int, number: int) -> None:
    data, lie = broken(form, at, number)
    assert baskets.hashes(data, lie, salts_of(2))[0] == 1
    assert by_reference(data, lie, salts_of(2))[0] == 1


@pytest.mark.parametrize(("size", "end", "count"), [(5, 5, 2), (5, 5, 0), (9, 5, 1), (12, 5, 1), (16, 5, 0)])
def test_bytes_that_no_entries_fill_are_found(size: int, end: int, count: int) -> None:
    data = np.zeros(20, np.uint8)
    lie = lie_of([0], [size], [end], [count], [False])
    assert baskets.hashes(data, lie, salts_of(1))[0] == 0
    assert by_reference(data, lie, salts_of(1))[0] == 0


@pytest.mark.parametrize(
    ("begin", "size", "end", "count"),
    [(-1, 3, 3, 1), (0, 11, 3, 1), (0, -1, -1, 1), (0, 3, 4, 1), (0, 3, 3, -1)],
)
def test_a_basket_lies_in_the_data(begin: int, size: int, end: int, count: int) -> None:
    lie = lie_of([begin], [size], [end], [count], [False])
    with pytest.raises(ValueError, match="basket 0 isn't inside data of 10 bytes"):
        baskets.hashes(np.zeros(10, np.uint8), lie, salts_of(1))


@examples
@given(st.lists(st.tuples(st.integers(0, 10), st.integers(0, 6)), max_size=6))
def test_runs_are_added(drawn: list[tuple[int, int]]) -> None:
    firsts, counts = (np.array([row[k] for row in drawn], np.int64) for k in (0, 1))
    values = np.arange(counts.sum(), dtype=np.uint64) + np.uint64(2**64 - 5)
    wanted, at = np.zeros(16, np.uint64), 0
    for first, count in drawn:
        wanted[first : first + count] += values[at : at + count]
        at += count
    for add in (baskets.add_runs, reference.add_runs):
        sums = np.zeros(16, np.uint64)
        add(sums, firsts, counts, values)
        assert_same(sums, wanted)


@pytest.mark.parametrize(("first", "count", "values"), [(-1, 1, 1), (3, 2, 2), (0, 2, 1), (0, -1, 0)])
def test_runs_lie_in_the_sums(first: int, count: int, values: int) -> None:
    with pytest.raises(ValueError, match="runs of"):
        baskets.add_runs(
            np.zeros(4, np.uint64), np.array([first]), np.array([count]), np.zeros(values, np.uint64)
        )
