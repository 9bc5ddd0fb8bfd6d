"""From columns to the bytes of entries, as baskets hold them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from grid.rootio.columns import Column
    from grid.rootio.format.leaves import Leaf

__all__ = ["big_endian", "object_bytes", "text_bytes"]

_BYTE_COUNT = 0x40000000
#: The version that collections are streamed with.
_STREAMED_VERSION = 10

#: Bytes of entries behind each other, and where each begins.
Stored: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.int64]]


def big_endian(values: NDArray[Any]) -> bytes:
    """Return the values' bytes in big-endian order, C order; always a copy."""
    if values.dtype.itemsize == 1:
        return values.tobytes()
    # one C loop: swap and copy at once
    return values.astype(values.dtype.newbyteorder(">")).tobytes()


def text_bytes(column: Column) -> Stored:
    """Return each text with its length before it, and where each begins: uint8 ``[k]``, int64 ``[n + 1]``."""
    return _with_lengths(column.values.view(np.uint8), column.offsets[-1])


def object_bytes(column: Column, leaf: Leaf) -> Stored:
    """Return the bytes of objects (std::string, std::vector of anything) and where each begins."""
    branch = leaf.branch
    levels = list(column.offsets)
    if branch.text:
        data, places = _with_lengths(column.values.view(np.uint8), levels.pop())
    else:
        data = np.frombuffer(big_endian(column.values), np.uint8)
        places = np.arange(len(column.values) + 1, dtype=np.int64) * branch.dtype.itemsize
    while levels:
        offsets = levels.pop()
        places = places[offsets]
        sizes = np.diff(offsets).astype(">u4")
        if levels:
            heads = sizes.view(np.uint8).reshape(-1, 4)
        else:
            heads = np.empty((len(sizes), 10), np.uint8)
            counts = (np.diff(places) + 6 | _BYTE_COUNT).astype(">u4")
            heads[:, :4] = counts.view(np.uint8).reshape(-1, 4)
            heads[:, 4:6] = (0, _STREAMED_VERSION)
            heads[:, 6:] = sizes.view(np.uint8).reshape(-1, 4)
        data, places = _interleave(heads.reshape(-1), np.full(len(sizes), heads.shape[1]), data, places)
    return data, places


def _with_lengths(data: NDArray[np.uint8], offsets: NDArray[np.int64]) -> Stored:
    """Put a TString's length before each piece: one byte, or 255 and four bytes."""
    sizes = np.diff(offsets)
    long = sizes >= 255
    if not long.any():
        return _interleave(sizes.astype(np.uint8), np.ones(len(sizes), np.int64), data, offsets)
    widths = np.where(long, 5, 1)
    heads = np.zeros((len(sizes), 5), np.uint8)
    heads[:, 0] = np.where(long, 255, sizes)
    heads[long, 1:] = sizes[long].astype(">u4").view(np.uint8).reshape(-1, 4)
    return _interleave(heads[np.arange(5) < widths[:, None]], widths, data, offsets)


def _interleave(
    heads: NDArray[np.uint8], widths: NDArray[np.int64], data: NDArray[np.uint8], offsets: NDArray[np.int64]
) -> Stored:
    """Put one head (of its own width) before each piece of `data`."""
    pieces = np.empty(2 * len(widths), np.int64)
    pieces[::2] = widths
    pieces[1::2] = np.diff(offsets)
    is_head = np.repeat(np.tile([True, False], len(widths)), pieces)
    out = np.empty(len(is_head), np.uint8)
    out[is_head] = heads
    out[~is_head] = data
    places = np.zeros(len(widths) + 1, np.int64)
    np.cumsum(pieces[::2] + pieces[1::2], out=places[1:])
    return out, places
