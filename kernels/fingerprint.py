"""Which events a file holds, as numbers that add.

An event's *key* is a hash of its identity (run, section, event, or whatever the recipe names) under two seeds. The
*fingerprint* of a set of events is the sum of their keys modulo 2**64: the order of events doesn't matter, and the
fingerprints of parts add up to that of the whole, so closure is proven by adding, without opening a file.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kernels import reference
from kernels._arrays import bits64, exact, within_groups
from kernels._jit import kernel, light

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "add",
    "event_keys",
    "fingerprint",
    "from_hex",
    "group_fingerprints",
    "mix64",
    "mix64_word",
    "to_hex",
]

Words = NDArray[np.uint64]
Integers = NDArray[np.integer[Any]]

SEEDS = reference.SEEDS

_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_30, _27, _31 = np.uint64(30), np.uint64(27), np.uint64(31)
_HEX = re.compile(r"[0-9a-f]{32}")


def mix64(value: int) -> int:
    """Scramble 64 bits (the finalizer of SplitMix64: a permutation; each input bit moves about half of the output).

    Parameters
    ----------
    value
        In ``[0, 2**64)``.

    Returns
    -------
    int
    """
    if not 0 <= value < 2**64:
        raise ValueError(f"mix64 takes 64 bits, got {value}")
    return int(mix64_word(np.uint64(value)))


@kernel
def mix64_word(value: np.uint64) -> np.uint64:
    """`mix64` for other kernels."""
    mixed = (value ^ (value >> _30)) * _FIRST
    mixed = (mixed ^ (mixed >> _27)) * _SECOND
    return mixed ^ (mixed >> _31)


def event_keys(columns: Sequence[Integers]) -> Words:
    """Hash the identity of each event.

    Parameters
    ----------
    columns : sequence of integer arrays [n]
        What identifies an event; their order matters. Integers count by value, not by type: the same run as int32,
        uint32 or int64 gives the same key (only a uint64 of 2**63 or more equals the negative number of the same bits).

    Returns
    -------
    uint64[n, 2]
        One key under each of two seeds.
    """
    if not len(columns):
        raise ValueError("columns is empty: an event needs at least one column to be identified by")
    words = [bits64(f"columns[{j}]", column) for j, column in enumerate(columns)]
    n = len(words[0])
    for j, column in enumerate(words):
        if len(column) != n:
            raise ValueError(f"columns[{j}] has {len(column)} events where columns[0] has {n}")
    if light(n):
        return reference.event_keys(words)
    keys = np.tile(SEEDS, (n, 1))
    for column in words:
        _fold(keys, column)
    return keys


def fingerprint(keys: Words) -> Words:
    """Add the keys of events.

    Parameters
    ----------
    keys : uint64[n, 2]

    Returns
    -------
    uint64[2]
        Sums modulo 2**64; zero for no events.
    """
    pairs = _pairs("keys", keys)
    return reference.fingerprint(pairs) if light(len(pairs)) else _total(pairs)


def group_fingerprints(keys: Words, group: Integers, n_groups: int) -> Words:
    """Add the keys of each group of events.

    Parameters
    ----------
    keys : uint64[n, 2]
    group : integers[n]
        In ``[0, n_groups)``, for instance the third result of `kernels.bits.census`.
    n_groups
        Number of groups; one without events gets zero.

    Returns
    -------
    uint64[n_groups, 2]
    """
    pairs = _pairs("keys", keys)
    groups = within_groups(group, n_groups)
    if len(groups) != len(pairs):
        raise ValueError(f"group has {len(groups)} events where keys has {len(pairs)}")
    return _group_totals(pairs, groups, n_groups)


def to_hex(words: Words) -> str:
    """Spell a fingerprint: 32 hexadecimal digits, first seed first.

    Parameters
    ----------
    words : uint64[2]

    Returns
    -------
    str
    """
    first, second = exact_pair(words)
    return f"{first:016x}{second:016x}"


def from_hex(text: str) -> Words:
    """Read what `to_hex` wrote.

    Parameters
    ----------
    text
        32 lower-case hexadecimal digits.

    Returns
    -------
    uint64[2]

    Raises
    ------
    ValueError
        Anything else.
    """
    if not _HEX.fullmatch(text):
        raise ValueError(f"a fingerprint has 32 lower-case hexadecimal digits, not {text!r}")
    return np.array([int(text[:16], 16), int(text[16:], 16)], dtype=np.uint64)


def add(*fingerprints: str) -> str:
    """Add spelled fingerprints; of none: that of no events.

    Parameters
    ----------
    *fingerprints
        As from `to_hex`.

    Returns
    -------
    str
    """
    total = np.zeros(2, dtype=np.uint64)
    for text in fingerprints:
        total += from_hex(text)
    return to_hex(total)


def exact_pair(words: Words) -> tuple[int, int]:
    """Two 64-bit words as numbers."""
    pair = exact("fingerprint", words, np.uint64, 1)
    if len(pair) != 2:
        raise ValueError(f"a fingerprint has two words, not {len(pair)}")
    return int(pair[0]), int(pair[1])


def _pairs(name: str, keys: Words) -> Words:
    pairs = exact(name, keys, np.uint64, 2)
    if pairs.shape[1] != 2:
        raise ValueError(f"{name} must have two words for each event, not {pairs.shape[1]}")
    return pairs


@kernel
def _fold(keys: Words, column: Words) -> None:
    for i in range(keys.shape[0]):
        keys[i, 0] = mix64_word(keys[i, 0] ^ column[i])
        keys[i, 1] = mix64_word(keys[i, 1] ^ column[i])


@kernel
def _total(keys: Words) -> Words:
    total = np.zeros(2, dtype=np.uint64)
    for i in range(keys.shape[0]):
        total[0] += keys[i, 0]
        total[1] += keys[i, 1]
    return total


@kernel
def _group_totals(keys: Words, group: NDArray[np.int64], n_groups: int) -> Words:
    totals = np.zeros((n_groups, 2), dtype=np.uint64)
    for i in range(keys.shape[0]):
        totals[group[i], 0] += keys[i, 0]
        totals[group[i], 1] += keys[i, 1]
    return totals
