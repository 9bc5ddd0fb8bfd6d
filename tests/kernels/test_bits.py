from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import bits, reference
from tests.kernels.draws import (
    Words,
    assert_all_same,
    assert_same,
    event_counts,
    examples,
    flags,
    refusals,
    stream_masks,
    words_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@examples
@given(event_counts.flatmap(flags))
def test_any_number_of_booleans_is_packed(drawn: np.ndarray) -> None:
    wanted = reference.pack_bits(drawn)
    assert_same(bits.pack_bits(drawn), wanted)
    assert_same(bits.pack_columns(list(drawn.T), len(drawn)), wanted)


@pytest.mark.parametrize("n_bits", [0, 1, 7, 8, 9, 63, 64, 65, 127, 128, 129, 1000])
def test_each_bit_has_its_place(n_bits: int) -> None:
    flags = np.eye(n_bits, dtype=np.bool_)
    words = bits.pack_bits(flags)
    assert words.shape == (n_bits, max(1, -(-n_bits // 64)))
    for bit in range(n_bits):
        assert_same(words[bit], bits.mask_words([bit], n_bits))
        assert sum(int(word) << 64 * k for k, word in enumerate(words[bit])) == 1 << bit


def test_any_byte_but_zero_is_true() -> None:
    odd = np.array([[0, 2, 255]], dtype=np.uint8).view(np.bool_)
    assert bits.pack_bits(odd).tolist() == [[0b110]]
    assert bits.pack_columns(list(odd.T)).tolist() == [[0b110]]


@examples
@given(st.data())
def test_masks_select_events(data: st.DataObject) -> None:
    n, w = data.draw(event_counts), data.draw(st.integers(1, 4))
    words, mask = data.draw(words_of(n, w)), data.draw(words_of(w))
    assert_same(bits.any_of(words, mask), reference.any_of(words, mask))
    assert_same(bits.all_of(words, mask), reference.all_of(words, mask))
    assert_same(bits.none_of(words, mask), reference.none_of(words, mask))


def test_an_empty_mask_asks_for_nothing() -> None:
    words = np.array([[5], [0]], dtype=np.uint64)
    nothing = bits.mask_words([], 10)
    assert bits.any_of(words, nothing).tolist() == [False, False]
    assert bits.all_of(words, nothing).tolist() == [True, True]
    assert bits.none_of(words, nothing).tolist() == [True, True]


@examples
@given(st.data())
def test_streams_are_the_or_of_their_paths(data: st.DataObject) -> None:
    n, w, s = data.draw(event_counts), data.draw(st.integers(1, 3)), data.draw(st.integers(0, 64))
    words, streams = data.draw(words_of(n, w)), data.draw(words_of(s, w))
    assert_same(bits.stream_masks(words, streams), reference.stream_masks(words, streams))


@examples
@given(stream_masks())
def test_overlap_counts_shared_events(drawn: tuple[Words, int]) -> None:
    masks, n_streams = drawn
    assert_same(bits.overlap(masks, n_streams), reference.overlap(masks, n_streams))


@examples
@given(stream_masks())
def test_census_books_every_event_once(drawn: tuple[Words, int]) -> None:
    masks, _ = drawn
    got = bits.census(masks)
    assert_all_same(got, reference.census(masks))
    assert got[1].sum() == len(masks)
    assert_same(got[0][got[2]], masks)


def test_census_of_many_different_masks() -> None:
    masks = np.random.default_rng(3).integers(0, 2**63, 5000, dtype=np.uint64)
    assert_all_same(bits.census(masks), reference.census(masks))


W = np.zeros((3, 2), dtype=np.uint64)
F = np.zeros((3, 2), dtype=np.bool_)


@refusals(
    (lambda: bits.pack_bits(F.astype(np.uint8)), "flags must be a 2-dimensional array of bool"),
    (lambda: bits.pack_bits(F[0]), "flags must be a 2-dimensional"),
    (lambda: bits.pack_columns([]), "n_events must say"),
    (lambda: bits.pack_columns([F[:, 0], F[:2, 0]]), r"columns\[1\] has 2 entries"),
    (lambda: bits.pack_columns([F[:, 0]], 4), r"columns\[0\] has 3 entries"),
    (lambda: bits.pack_columns([F[:, 0].astype(float)]), r"columns\[0\] must be"),
    (lambda: bits.pack_columns([], -1), "n_events must not be negative"),
    (lambda: bits.mask_words([3], 3), "bit 3 is outside a menu of 3"),
    (lambda: bits.mask_words([-1], 3), "bit -1 is outside"),
    (lambda: bits.mask_words([], -3), "can't be negative"),
    (lambda: bits.any_of(W, W[:, 0]), "mask has 3 words where words has 2"),
    (lambda: bits.all_of(W.astype(np.int64), W[0]), "words must be a 2-dimensional array of uint64"),
    (lambda: bits.none_of(W, W), "mask must be a 1-dimensional"),
    (lambda: bits.stream_masks(W, np.zeros((2, 3), dtype=np.uint64)), "streams has 3 words"),
    (lambda: bits.stream_masks(W, np.zeros((65, 2), dtype=np.uint64)), "at most 64 streams"),
    (lambda: bits.overlap(np.array([8], dtype=np.uint64), 3), "bit 3 set, but there are 3 streams"),
    (lambda: bits.overlap(np.array([8], dtype=np.uint64), 65), r"n_streams must lie in \[0, 64\]"),
    (lambda: bits.census(W), "stream_mask must be a 1-dimensional"),
)
def test_wrong_arguments_are_refused_in_words(call: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()
