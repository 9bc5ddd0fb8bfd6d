"""How numbers are put together: added without overflow, appended, or as a parameter asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sitecfg.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Values = Mapping[str, NDArray[Any]]

__all__ = ["added", "appended", "squares_of", "sums_of"]


def added(name: str, mine: Values, other: Values) -> NDArray[Any]:
    """Return the sums, item by item, in the type in which they are stored.

    Raises
    ------
    SchemaMismatch
        If there are more items in one, or a whole number gets too large for its type.
    """
    return _sum(name, mine[name], other[name])


def appended(name: str, mine: Values, other: Values) -> NDArray[Any]:
    """Return the one and then the other."""
    return np.concatenate([mine[name], other[name]])


def squares_of(counts: str) -> Callable[[str, Values, Values], NDArray[Any]]:
    """Return what adds sums of squared weights; where there are none, the part `counts` says them: weights are 1."""

    def combine(name: str, mine: Values, other: Values) -> NDArray[Any]:
        one, two = mine[name], other[name]
        if len(one) != len(two):
            one = one if len(one) else mine[counts].astype(one.dtype)
            two = two if len(two) else other[counts].astype(two.dtype)
        return _sum(name, one, two)

    return combine


def sums_of(path: str) -> Callable[[str, Values, Values], NDArray[Any]]:
    """Return what adds the sums over all entries of the histogram whose parts begin with `path`.

    A histogram that was made from bin contents alone has none, and readers compute them from the bins. So they do when
    such a one and another were added: there are none then.
    """

    def known(values: Values) -> bool:
        return bool(values[path + "fTsumw"][0] != 0 or values[path + "fEntries"][0] == 0)

    def combine(name: str, mine: Values, other: Values) -> NDArray[Any]:
        total = _sum(name, mine[name], other[name])
        return total if known(mine) == known(other) else np.zeros_like(total)

    return combine


def _sum(name: str, one: NDArray[Any], two: NDArray[Any]) -> NDArray[Any]:
    if len(one) != len(two):
        raise SchemaMismatch(f"{name} has {len(two)} values instead of {len(one)}")
    with np.errstate(all="ignore"):  # infinities and NaN add up as ROOT adds them
        total: NDArray[Any] = one + two
    if total.dtype.kind == "i" and (over := ((one ^ total) & (two ^ total)) < 0).any():
        at = int(np.flatnonzero(over)[0])
        raise SchemaMismatch(
            f"{name} gets too large for its type in bin {at}: {one[at]} + {two[at]}",
            todo="store it in a wider type (TH1D instead of TH1C, TH1S or TH1I), or leave it out (--drop-refused)",
        )
    return total
