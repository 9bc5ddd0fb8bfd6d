from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from kernels import fingerprint, prescale, reference
from tests.kernels.draws import assert_same, event_counts, examples, refusals, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

PRESCALES = st.integers(0, 5) | st.integers(0, 2**64 - 1)


@examples
@given(event_counts.flatmap(lambda n: words_of(n, 2)), PRESCALES, st.integers(0, 2**64 - 1))
def test_keep_is_a_function_of_key_and_salt(keys: np.ndarray, factor: int, salt: int) -> None:
    assert_same(prescale.keep(keys, factor, salt), reference.keep(keys, factor, salt))


@examples
@given(st.data())
def test_prescales_clear_bits_and_nothing_else(data: st.DataObject) -> None:
    n, b = data.draw(event_counts), data.draw(st.integers(0, 130))
    words, keys = data.draw(words_of(n, max(1, -(-b // 64)))), data.draw(words_of(n, 2))
    factors = data.draw(hnp.arrays(np.uint64, b, elements=PRESCALES))
    salts = data.draw(words_of(b))
    before = words.copy()
    got = prescale.apply_prescales(words, keys, factors, salts)
    assert_same(words, before)
    unused = np.uint64(2**64 - (1 << b % 64)) if b % 64 or not b else np.uint64(0)
    wanted = reference.apply_prescales(words, keys, factors, salts)
    wanted[:, -1] |= words[:, -1] & unused
    assert_same(got, wanted)


def test_about_one_event_in_n_is_kept_and_paths_choose_independently() -> None:
    keys = fingerprint.event_keys([np.arange(100_000)])
    first, second = prescale.keep(keys, 10, 1), prescale.keep(keys, 10, 2)
    assert 9_600 < first.sum() < 10_400
    assert 850 < (first & second).sum() < 1_150


def test_one_keeps_all_and_zero_none() -> None:
    keys = fingerprint.event_keys([np.arange(100)])
    assert prescale.keep(keys, 1, 7).all()
    assert not prescale.keep(keys, 0, 7).any()


W = np.zeros((3, 1), dtype=np.uint64)
K = np.zeros((3, 2), dtype=np.uint64)
P = np.ones(4, dtype=np.uint64)


@refusals(
    (lambda: prescale.keep(W, 2, 0), "two words for each event"),
    (lambda: prescale.keep(K, -1, 0), "prescale must lie in"),
    (lambda: prescale.keep(K, 2**64, 0), "prescale must lie in"),
    (lambda: prescale.keep(K, 2, -1), "salt must lie in"),
    (lambda: prescale.keep(K.astype(np.int64), 2, 0), "keys must be a 2-dimensional array of uint64"),
    (lambda: prescale.apply_prescales(W, K[:2], P, P), "keys has 2 events where words has 3"),
    (lambda: prescale.apply_prescales(W, K, P, P[:3]), "salts has 3 paths where prescales has 4"),
    (
        lambda: prescale.apply_prescales(W, K, np.ones(65, dtype=np.uint64), np.ones(65, dtype=np.uint64)),
        "65",
    ),
    (lambda: prescale.apply_prescales(W, K, P.astype(float), P), "prescales must be"),
)
def test_wrong_arguments_are_refused_in_words(call: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()
