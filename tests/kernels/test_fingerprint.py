from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import fingerprint, reference
from tests.kernels.draws import assert_same, examples, identities, refusals

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@examples
@given(st.integers(0, 2**64 - 1))
def test_mix64(value: int) -> None:
    assert fingerprint.mix64(value) == reference.mix64(value)


def test_mix64_is_the_published_finalizer() -> None:
    state, first = 0x9E3779B97F4A7C15, 0xE220A8397B1DCDAF  # SplitMix64 seeded with 0 gives this first
    assert fingerprint.mix64(state) == first


@examples
@given(identities())
def test_keys(columns: list[NDArray[Any]]) -> None:
    keys = fingerprint.event_keys(columns)
    assert_same(keys, reference.event_keys(columns))
    assert_same(fingerprint.fingerprint(keys), reference.fingerprint(keys))


@examples
@given(identities())
def test_keys_depend_on_values_not_on_types(columns: list[NDArray[Any]]) -> None:
    wide = [column.astype(np.int64 if column.dtype.kind == "i" else np.uint64) for column in columns]
    assert_same(fingerprint.event_keys(columns), fingerprint.event_keys(wide))


def test_stored_fingerprints_stay_valid() -> None:
    columns = [np.array([1, 1, 2]), np.array([10, 11, -3]), np.array([0, 2**40, 7])]
    spelled = fingerprint.to_hex(fingerprint.fingerprint(fingerprint.event_keys(columns)))
    assert spelled == "f46e2b78a5151fe7dd34e2b7b2fc18d3"


def test_the_order_of_columns_counts() -> None:
    a, b = np.array([1]), np.array([2])
    assert (fingerprint.event_keys([a, b]) != fingerprint.event_keys([b, a])).all()
    assert (fingerprint.event_keys([a]) != fingerprint.event_keys([a, np.array([0])])).all()


@examples
@given(identities(), st.randoms(use_true_random=False))
def test_parts_in_any_order_add_up_to_the_whole(columns: list[NDArray[Any]], random: Any) -> None:
    keys = fingerprint.event_keys(columns)
    group = np.array([random.randrange(4) for _ in keys], dtype=np.int64)
    parts = fingerprint.group_fingerprints(keys, group, 4)
    assert_same(parts, reference.group_fingerprints(keys, group, 4))
    spelled = [fingerprint.to_hex(part) for part in parts]
    random.shuffle(spelled)
    assert fingerprint.add(*spelled) == fingerprint.to_hex(fingerprint.fingerprint(keys))


def test_one_changed_event_shows_in_both_words() -> None:
    events = np.arange(1000)
    keys = fingerprint.event_keys([events])
    events[500] += 1
    assert (fingerprint.fingerprint(keys) != fingerprint.fingerprint(fingerprint.event_keys([events]))).all()


def test_no_events_are_zero() -> None:
    keys = fingerprint.event_keys([np.empty(0, dtype=np.int32)])
    assert keys.shape == (0, 2)
    assert fingerprint.to_hex(fingerprint.fingerprint(keys)) == "0" * 32 == fingerprint.add()


@examples
@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2))
def test_spelling_is_reversible(words: list[int]) -> None:
    pair = np.array(words, dtype=np.uint64)
    assert_same(fingerprint.from_hex(fingerprint.to_hex(pair)), pair)


K = np.zeros((3, 2), dtype=np.uint64)
G = np.zeros(3, dtype=np.int64)


@refusals(
    (lambda: fingerprint.mix64(-1), "64 bits"),
    (lambda: fingerprint.mix64(2**64), "64 bits"),
    (lambda: fingerprint.event_keys([]), "at least one column"),
    (lambda: fingerprint.event_keys([G, G[:2]]), r"columns\[1\] has 2"),
    (
        lambda: fingerprint.event_keys([G.astype(float)]),
        r"columns\[0\] must be a 1-dimensional array of integers",
    ),
    (lambda: fingerprint.event_keys([K]), r"columns\[0\] must be a 1-dimensional"),
    (lambda: fingerprint.fingerprint(K[:, :1]), "two words for each event"),
    (lambda: fingerprint.fingerprint(K.astype(np.int64)), "keys must be"),
    (lambda: fingerprint.group_fingerprints(K, G + 1, 1), r"group must lie in \[0, 1\), found \[1, 1\]"),
    (lambda: fingerprint.group_fingerprints(K, G - 1, 1), "group must lie in"),
    (lambda: fingerprint.group_fingerprints(K, G[:2], 1), "2"),
    (lambda: fingerprint.group_fingerprints(K[:0], G[:0], -1), "n_groups must not be negative"),
    (lambda: fingerprint.to_hex(K[:, 0]), "two words, not 3"),
    (lambda: fingerprint.from_hex("0" * 31), "32 lower-case hexadecimal digits"),
    (lambda: fingerprint.from_hex("F" * 32), "32 lower-case hexadecimal digits"),
    (lambda: fingerprint.from_hex("0" * 32 + "\n"), "32 lower-case hexadecimal digits"),
    (lambda: fingerprint.add("0" * 32, "x"), "32 lower-case hexadecimal digits"),
)
def test_wrong_arguments_are_refused_in_words(call: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()
