"""Checked, canonical arguments: native byte order, C-contiguous, aligned, read-only.

Whatever a caller hands in (strided, big endian, from a read-only buffer) reaches the compiled loops in one form, so
that each kernel is compiled once; and a kernel can't write into its caller's arrays.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = ["bits64", "byte_rows", "exact", "frozen", "integers", "same_length", "within_groups"]


def frozen(array: NDArray[Any]) -> NDArray[Any]:
    """Give a contiguous, aligned, native, read-only view, copying only where needed."""
    native = np.require(array, dtype=array.dtype.newbyteorder("="), requirements=["C", "A"])
    view = native.view(np.ndarray)
    view.flags.writeable = False
    return view


def exact(name: str, array: ArrayLike, dtype: DTypeLike, ndim: int) -> NDArray[Any]:
    """Refuse any other dtype (byte order apart) or number of dimensions."""
    given = np.asarray(array)
    wanted = np.dtype(dtype)
    if given.dtype.newbyteorder("=") != wanted or given.ndim != ndim:
        raise ValueError(f"{name} must be a {ndim}-dimensional array of {wanted}, not {describe(given)}")
    return frozen(given)


def integers(name: str, array: ArrayLike) -> NDArray[np.int64]:
    """Any one-dimensional array of integers, as int64."""
    given = np.asarray(array)
    if given.dtype.kind not in "iu" or given.ndim != 1:
        raise ValueError(f"{name} must be a 1-dimensional array of integers, not {describe(given)}")
    if given.dtype == np.uint64 and given.size and given.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name} holds {given.max()}, which is beyond a signed 64-bit number")
    return frozen(given.astype(np.int64, copy=False))


def bits64(name: str, array: ArrayLike) -> NDArray[np.uint64]:
    """Any one-dimensional array of integers by value: sign-extended to 64 bits, read as uint64."""
    given = np.asarray(array)
    if given.dtype.kind not in "iu" or given.ndim != 1:
        raise ValueError(f"{name} must be a 1-dimensional array of integers, not {describe(given)}")
    wide = np.int64 if given.dtype.kind == "i" else np.uint64
    return frozen(given.astype(wide, order="C", copy=False).view(np.uint64))


def byte_rows(name: str, array: ArrayLike) -> NDArray[np.uint8]:
    """Two-dimensional bytes: one row for each event."""
    return exact(name, array, np.uint8, 2)


def same_length(**arrays: NDArray[Any]) -> int:
    """Refuse arrays that don't have one entry for each event; give the number of events."""
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ValueError(f"arrays must have one entry for each event: {listed}")
    return next(iter(lengths.values()))


def within_groups(group: ArrayLike, n_groups: int) -> NDArray[np.int64]:
    """Group numbers, all in ``[0, n_groups)``."""
    if n_groups < 0:
        raise ValueError(f"n_groups must not be negative, got {n_groups}")
    groups = integers("group", group)
    if groups.size and (groups.min() < 0 or groups.max() >= n_groups):
        raise ValueError(f"group must lie in [0, {n_groups}), found [{groups.min()}, {groups.max()}]")
    return groups


def describe(array: NDArray[Any]) -> str:
    """Say an array's shape and dtype."""
    return f"shape {array.shape} of {array.dtype}"
