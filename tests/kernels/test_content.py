from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import content, reference
from tests.kernels.draws import (
    Bytes,
    Index,
    assert_same,
    event_counts,
    examples,
    jagged_events,
    refusals,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

SALTS = st.integers(0, 2**64 - 1)


@examples
@given(event_counts, st.integers(0, 40), SALTS)
def test_fixed_rows(n: int, width: int, salt: int) -> None:
    rows = np.random.default_rng(n).integers(0, 256, (n, width), dtype=np.uint8)
    wanted = reference.fixed(rows, salt)
    assert_same(content.fixed(rows, salt), wanted)
    starts = np.arange(n) * width
    assert_same(content.jagged(starts, starts + width, rows.reshape(-1), salt), wanted)


@examples
@given(jagged_events(), SALTS)
def test_jagged_events(drawn: tuple[Bytes, Index, Index], salt: int) -> None:
    data, offsets, _ = drawn
    starts, stops = offsets[:-1], offsets[1:]
    assert_same(content.jagged(starts, stops, data, salt), reference.jagged(starts, stops, data, salt))


def test_where_an_event_lies_does_not_matter() -> None:
    data = np.arange(60, dtype=np.uint8) % 20
    hashes = content.jagged(np.array([0, 20, 40]), np.array([20, 40, 60]), data, 1)
    assert len(set(hashes.tolist())) == 1


@pytest.mark.parametrize("width", [1, 4, 8, 13, 24, 100])
def test_every_flipped_bit_shows(width: int) -> None:
    row = np.random.default_rng(width).integers(0, 256, width, dtype=np.uint8)
    flipped = np.tile(row, (8 * width + 1, 1))
    for bit in range(8 * width):
        flipped[bit, bit // 8] ^= 1 << bit % 8
    assert len(set(content.fixed(flipped, 3).tolist())) == 8 * width + 1


def test_flipped_signs_of_several_numbers_show() -> None:
    """Top bits are the ones that multiplying alone doesn't spread."""
    signs = np.array(
        [[1 - 2 * (pattern >> k & 1) for k in range(12)] for pattern in range(4096)], dtype=np.float32
    )
    assert len(set(content.fixed(signs.view(np.uint8), 0).tolist())) == 4096


def test_length_and_salt_count() -> None:
    nothing = np.zeros(64, dtype=np.uint8)
    starts = np.zeros(65, dtype=np.int64)
    hashes = content.jagged(starts, np.arange(65), nothing, 0)
    assert len(set(hashes.tolist())) == 65
    assert not set(hashes.tolist()) & set(content.jagged(starts, np.arange(65), nothing, 1).tolist())


@examples
@given(st.data())
def test_seal_and_sums(data: st.DataObject) -> None:
    hashes = data.draw(words_of(data.draw(event_counts)))
    group = np.array(
        data.draw(st.lists(st.integers(0, 4), min_size=len(hashes), max_size=len(hashes))), dtype=np.int64
    )
    sealed = content.seal(hashes)
    assert_same(sealed, reference.seal(hashes))
    sums = content.group_sums(sealed, group, 5)
    assert_same(sums, reference.group_sums(sealed, group, 5))
    assert sums.sum(dtype=np.uint64) == sealed.sum(dtype=np.uint64)


def test_a_column_exchanged_between_events_shows_once_sealed() -> None:
    pt, eta = np.array([1.0, 2.0]), np.array([0.1, 0.2])

    def per_event(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.uint64]:
        hashes = [
            content.fixed(v.view(np.uint8).reshape(2, 8), content.salt_of(s))
            for v, s in ((first, "pt"), (second, "eta"))
        ]
        return hashes[0] + hashes[1]

    right, wrong = per_event(pt, eta), per_event(pt[::-1].copy(), eta)
    assert right.sum() == wrong.sum()
    assert content.seal(right).sum() != content.seal(wrong).sum()


def test_stored_contents_stay_valid() -> None:
    data = np.arange(30, dtype=np.uint8)
    hashes = content.jagged(np.array([0, 3, 3]), np.array([3, 3, 30]), data, content.salt_of("Muon_pt"))
    assert f"{content.seal(hashes).sum():016x}" == "8afe84dc8874b4cb"


B = np.zeros((3, 4), dtype=np.uint8)
G = np.zeros(3, dtype=np.int64)
H = np.zeros(3, dtype=np.uint64)


@refusals(
    (lambda: content.fixed(B[0], 0), "data must be a 2-dimensional array of uint8"),
    (lambda: content.fixed(B.view(np.int8), 0), "data must be a 2-dimensional array of uint8"),
    (lambda: content.fixed(B, -1), "salt must lie in"),
    (lambda: content.fixed(B, 2**64), "salt must lie in"),
    (lambda: content.jagged(G, G[:2], B[0], 0), "starts has 3, stops has 2"),
    (lambda: content.jagged(G, G + 5, B[0], 0), r"event 0 lies at \[0, 5\), which isn't inside \[0, 4\)"),
    (lambda: content.jagged(G - 1, G, B[0], 0), r"event 0 lies at \[-1, 0\)"),
    (lambda: content.jagged(G + 1, G, B[0], 0), r"event 0 lies at \[1, 0\)"),
    (lambda: content.jagged(G.astype(float), G, B[0], 0), "starts must be"),
    (lambda: content.jagged(G, G, B, 0), "data must be a 1-dimensional"),
    (lambda: content.seal(np.asarray(G, dtype="i8")), "per_event must be a 1-dimensional array of uint64"),
    (lambda: content.group_sums(H, G + 2, 2), r"group must lie in \[0, 2\)"),
    (lambda: content.group_sums(H[:2], G, 2), "per_event has 2, group has 3"),
)
def test_wrong_arguments_are_refused_in_words(call: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()
