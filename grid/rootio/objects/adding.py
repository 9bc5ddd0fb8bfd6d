"""How numbers are put together: added without overflow, appended, or as a parameter asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from sitecfg.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Values = Mapping[str, NDArray[Any]]

__all__ = [
    "added",
    "added_where_there",
    "appended",
    "joined_bins",
    "squares_of",
    "squares_where_there",
    "sum_of_squares",
    "sums_of",
]


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


def added_where_there(name: str, mine: Values, other: Values) -> NDArray[Any]:
    """Return the sums as :func:`added`; numbers that were never stored are zeros."""
    one, two = mine[name], other[name]
    return _sum(name, one, two) if len(one) and len(two) else one if len(one) else two


def joined_bins(name: str, mine: Values, other: Values) -> NDArray[Any]:
    """Return bins with the fields ``at``, ``content`` and maybe ``square``: those at one place are added up.

    The first histogram's come first, in their order. If only one has squares of weights, the other's weights are 1.

    Raises
    ------
    SchemaMismatch
        If they are described otherwise, or a whole number gets too large for its type.
    """
    one, two = mine[name], other[name]
    if one.dtype.names != two.dtype.names:
        one, two = _with_squares(one), _with_squares(two)
    if not len(one) or not len(two):
        return one if len(one) else two
    if one.dtype != two.dtype:
        raise SchemaMismatch(f"{name} are {two.dtype} instead of {one.dtype}")
    order = np.argsort(one["at"], kind="stable")
    near = order[np.minimum(np.searchsorted(one["at"], two["at"], sorter=order), len(one) - 1)]
    known = one["at"][near] == two["at"]
    total = np.concatenate([one, two[~known]])
    for field in (one.dtype.names or ())[1:]:
        total[field][near[known]] = _sum(f"{name} {field}", one[field][near[known]], two[field][known])
    return total


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


def sum_of_squares(path: str) -> Callable[[str, Values, Values], NDArray[Any]]:
    """Return what adds the sums of squared weights as :func:`sums_of` does; -1 says that a histogram has no squares."""

    def combine(name: str, mine: Values, other: Values) -> NDArray[Any]:
        if mine[name][0] < 0 and other[name][0] < 0:
            return mine[name]
        told = [{**values, name: np.maximum(values[name], 0)} for values in (mine, other)]
        return sums_of(path)(name, *told)

    return combine


def squares_where_there(counts: str, told: str) -> Callable[[str, Values, Values], NDArray[Any]]:
    """Return what adds squares of weights as :func:`squares_of` does; where some were never stored, they are zeros.

    The part `told` is -1 where there are none.
    """

    def squares(name: str, values: Values) -> NDArray[Any]:
        if len(values[name]) or values[told][0] < 0:
            return values[name] if len(values[name]) else values[counts].astype(values[name].dtype)
        return np.zeros(len(values[counts]), values[name].dtype)

    def combine(name: str, mine: Values, other: Values) -> NDArray[Any]:
        if mine[told][0] < 0 and other[told][0] < 0:
            return mine[name]
        one, two = squares(name, mine), squares(name, other)
        return _sum(name, one, two) if len(one) and len(two) else one if len(one) else two

    return combine


def _with_squares(bins: NDArray[Any]) -> NDArray[Any]:
    names = bins.dtype.names or ()
    if "square" in names:
        return bins
    more = np.zeros(len(bins), [*((name, bins.dtype[name]) for name in names), ("square", "f8")])
    for name in names:
        more[name] = bins[name]
    more["square"] = bins["content"]
    return more


def _sum(name: str, one: NDArray[Any], two: NDArray[Any]) -> NDArray[Any]:
    if len(one) != len(two):
        raise SchemaMismatch(f"{name} has {len(two)} values instead of {len(one)}")
    with np.errstate(all="ignore"):  # infinities and NaN add up as ROOT adds them
        total: NDArray[Any] = one + two
    over = _too_large(one, two, total)
    if over.any():
        at = int(np.flatnonzero(over)[0])
        raise SchemaMismatch(
            f"{name} gets too large for its type in bin {at}: {one[at]} + {two[at]}",
            todo="store it in a wider type (TH1D instead of TH1C, TH1S or TH1I), or leave it out (--drop-refused)",
        )
    return total


def _too_large(one: NDArray[Any], two: NDArray[Any], total: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the sums of whole numbers are not what they should be."""
    over: NDArray[np.bool_] = np.zeros(len(total), np.bool_)
    if total.dtype.kind == "i":
        over = ((one ^ total) & (two ^ total)) < 0
    elif total.dtype.kind == "u":
        over = total < one
    return over
