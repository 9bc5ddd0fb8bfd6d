"""Prescales that give the same answer wherever and whenever an event is looked at: they depend on its key alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from kernels._arrays import exact
from kernels._jit import kernel
from kernels.bits import ONE, ZERO, word_count
from kernels.fingerprint import mix64_word

__all__ = ["apply_prescales", "keep"]

Words = NDArray[np.uint64]


def keep(keys: Words, prescale: int, salt: int) -> NDArray[np.bool_]:
    """Choose about one event in ``prescale``.

    Parameters
    ----------
    keys : uint64[n, 2]
        From `kernels.fingerprint.event_keys`; the first seed's decides.
    prescale
        1 keeps all, 0 none (the path is switched off).
    salt
        Makes the choices of different paths independent.

    Returns
    -------
    bool[n]
        ``mix64(key ^ salt) % prescale == 0``.
    """
    if not 0 <= int(prescale) < 2**64:
        raise ValueError(f"prescale must lie in [0, 2**64), got {prescale}")
    if not 0 <= int(salt) < 2**64:
        raise ValueError(f"salt must lie in [0, 2**64), got {salt}")
    return _keep(_event_keys(keys), np.uint64(prescale), np.uint64(salt))


def apply_prescales(words: Words, keys: Words, prescales: Words, salts: Words) -> Words:
    """Clear the bits of paths whose prescale rejects the event.

    Parameters
    ----------
    words : uint64[n, w]
        Fired paths; not changed.
    keys : uint64[n, 2]
    prescales : uint64[b]
        One for each path; 1 leaves a path as it is, 0 switches it off.
    salts : uint64[b]

    Returns
    -------
    uint64[n, w]
        The bits that remain.
    """
    fired = exact("words", words, np.uint64, 2)
    of_event = _event_keys(keys)
    factor = exact("prescales", prescales, np.uint64, 1)
    salt = exact("salts", salts, np.uint64, 1)
    if len(of_event) != len(fired):
        raise ValueError(f"keys has {len(of_event)} events where words has {len(fired)}")
    if len(factor) != len(salt):
        raise ValueError(f"salts has {len(salt)} paths where prescales has {len(factor)}")
    if word_count(len(factor)) != fired.shape[1]:
        raise ValueError(f"prescales has {len(factor)} paths, which is not what {fired.shape[1]} words hold")
    return _apply(fired, of_event, factor, salt, np.flatnonzero(factor != ONE).astype(np.int64))


def _event_keys(keys: Words) -> Words:
    given = exact("keys", keys, np.uint64, 2)
    if given.shape[1] != 2:
        raise ValueError(f"keys must have two words for each event, not {given.shape[1]}")
    return given


@kernel
def _kept(key: np.uint64, prescale: np.uint64, salt: np.uint64) -> bool:
    if prescale == ZERO:
        return False
    return bool(mix64_word(key ^ salt) % prescale == ZERO)


@kernel
def _keep(keys: Words, prescale: np.uint64, salt: np.uint64) -> NDArray[np.bool_]:
    n = keys.shape[0]
    out = np.empty(n, dtype=np.bool_)
    for i in range(n):
        out[i] = _kept(keys[i, 0], prescale, salt)
    return out


@kernel
def _apply(words: Words, keys: Words, prescales: Words, salts: Words, active: NDArray[np.int64]) -> Words:
    out = words.copy()
    for i in range(words.shape[0]):
        for p in range(active.size):
            j = active[p]
            bit = ONE << np.uint64(j & 63)
            fired = out[i, j >> 6] & bit != ZERO
            if fired and not _kept(keys[i, 0], prescales[j], salts[j]):
                out[i, j >> 6] &= ~bit
    return out
