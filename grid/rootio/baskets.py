"""Turn the bytes of one TBasket into a column: which branch types there are, and how each is unpacked."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.columns import Branch, Column
from grid.rootio.format.baskets import from_sizes
from grid.rootio.format.leaves import LEAF_TYPES
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from grid.rootio.truncated import Packing

__all__ = ["Layout", "layout_of", "leaf_list", "packed_numbers"]


@dataclass(frozen=True, slots=True)
class Layout:
    """What the values of a branch look like, and what unpacks one of its baskets.

    ``decode(branch, number, start, stop)`` gets uproot's branch, the number of the basket and the
    entries it holds.
    """

    dtype: np.dtype[Any]
    decode: Callable[[Any, int, int, int], Column]
    shape: tuple[int, ...] = ()
    jagged: int = 0
    text: bool = False

    @property
    def levels(self) -> int:
        """The number of offset arrays."""
        return self.jagged + int(self.text)


def layout_of(interpretation: Any) -> Layout | str:
    """Return the layout of what uproot says a branch is, or the reason why we can't carry it."""
    kind = type(interpretation).__name__
    if kind == "AsDtype":
        return _numbers(interpretation)
    if kind == "AsJagged" and type(interpretation.content).__name__ == "AsDtype":
        return _lists_of_numbers(interpretation)
    if kind == "AsStrings":
        return _texts(interpretation)
    if kind == "AsObjects":
        return _vectors(interpretation.model)
    if kind == "UnknownInterpretation":
        return "uproot has no rule to read it"
    return f"{kind} can't be carried"


def packed_numbers(packing: Packing, shape: tuple[int, ...], *, jagged: bool) -> Layout:
    """Return the layout of numbers that are stored with fewer bits."""
    width = packing.width * int(np.prod(shape, dtype=np.int64))

    def decode(branch: Any, number: int, start: int, stop: int) -> Column:
        basket = branch.basket(number)
        data = _data(basket)
        edges = (
            _entry_edges(branch, basket, number, (start, stop), width)
            if jagged
            else np.arange(stop - start + 1, dtype=np.int64) * width
        )
        offsets, rest = np.divmod(edges, width)
        if rest.any() or edges[-1] != len(data):
            raise CorruptFile(f"basket {number} has {len(data)} bytes for {stop - start} entries of {width}")
        return Column(packing.unpack(data).reshape(-1, *shape), (offsets,) if jagged else ())

    return Layout(packing.dtype, decode, shape, int(jagged))


def leaf_list(leaves: Sequence[Any]) -> Layout | str:
    """Return the layout of a branch of several leaves such as ``x/I:y[3]/F``, or the reason why we can't carry it."""
    fields: dict[str, tuple[str, tuple[int, ...]]] = {}
    for leaf in leaves:
        name, code = str(leaf.member("fName")), LEAF_TYPES.get(leaf.classname)
        shape = tuple(int(text) for text in re.findall(r"\[(\d+)\]", str(leaf.member("fTitle"))))
        if code is None or name in fields:
            return f"one of its leaves is no plain number with a name of its own: {name} ({leaf.classname})"
        if leaf.member("fLeafCount") is not None or math.prod(shape) != leaf.member("fLen"):
            return f"one of its leaves varies in length: {name}"
        fields[name] = (code.replace("i", "u") if leaf.member("fIsUnsigned") else code, shape)
    disk = np.dtype([(name, f">{code}", shape) for name, (code, shape) in fields.items()])
    return _fixed(disk, disk.newbyteorder("="), ())


def _numbers(interpretation: Any) -> Layout:
    return _fixed(interpretation.from_dtype, *_memory_type(interpretation))


def _fixed(disk: np.dtype[Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> Layout:
    def decode(branch: Any, number: int, start: int, stop: int) -> Column:
        data = _data(branch.basket(number))
        if len(data) != (stop - start) * disk.itemsize:
            raise CorruptFile(
                f"basket {number} has {len(data)} bytes for {stop - start} entries of {disk.itemsize}"
            )
        return Column(_native(data, disk, dtype, shape))

    return Layout(dtype, decode, shape)


def _lists_of_numbers(interpretation: Any) -> Layout | str:
    disk = interpretation.content.from_dtype
    if disk.names is not None:
        return f"several leaves in one branch: {', '.join(disk.names)}"
    dtype, shape = _memory_type(interpretation.content)
    header = int(interpretation.header_bytes)
    width = disk.itemsize

    def decode(branch: Any, number: int, start: int, stop: int) -> Column:
        basket = branch.basket(number)
        data, edges = _data(basket), _entry_edges(branch, basket, number, (start, stop), width)
        if header:
            data, edges = _without_header(data, edges, header, disk.itemsize, number)
        offsets, rest = np.divmod(edges, disk.itemsize)
        if rest.any():
            raise CorruptFile(f"basket {number} has an entry that is no whole number of values")
        return Column(_native(data, disk, dtype, shape), (offsets,))

    return Layout(dtype, decode, shape, 1)


def _texts(interpretation: Any) -> Layout | str:
    if interpretation.length_bytes != "1-5":
        return _converted(np.dtype(np.uint8), 0, text=True)
    header = int(interpretation.header_bytes)

    def decode(branch: Any, number: int, start: int, stop: int) -> Column:
        basket = branch.basket(number)
        data, edges = _data(basket), _entry_edges(branch, basket, number, (start, stop))
        return Column(*_without_lengths(data, edges, header, number))

    return Layout(np.dtype(np.uint8), decode, text=True)


def _vectors(model: Any) -> Layout | str:
    depth = 0
    while type(model).__name__ == "AsVector":
        depth += 1
        model = model.values
    if depth and type(model).__name__ == "AsString":
        return _converted(np.dtype(np.uint8), depth, text=True)
    if depth and isinstance(model, np.dtype) and model.names is None:
        return _converted(model.newbyteorder("="), depth)
    name = getattr(model, "typename", None) or getattr(model, "__name__", None) or type(model).__name__
    return f"objects of a class can't be carried: {name}"


def _converted(dtype: np.dtype[Any], jagged: int, *, text: bool = False) -> Layout:
    return Layout(dtype, _Converted(Branch("", "", dtype, (), jagged, None, text)), (), jagged, text)


@dataclass(frozen=True, slots=True)
class _Converted:
    """Lets uproot build an awkward array of a basket's entries; slower, for every nested type."""

    branch: Branch

    def __call__(self, branch: Any, _number: int, start: int, stop: int) -> Column:
        array = branch.array(entry_start=start, entry_stop=stop, library="ak", array_cache=None)
        return Column.from_awkward(array, self.branch)


def _memory_type(interpretation: Any) -> tuple[np.dtype[Any], tuple[int, ...]]:
    memory = interpretation.to_dtype
    base, shape = memory.subdtype or (memory, ())
    return base.newbyteorder("="), tuple(int(n) for n in shape)


def _native(
    data: NDArray[np.uint8], disk: np.dtype[Any], dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    """Big-endian bytes as native values, in memory of their own."""
    base = (disk.subdtype or (disk, ()))[0]
    values = np.frombuffer(data, base)
    return values.astype(dtype).reshape(-1, *shape)


def _data(basket: Any) -> NDArray[np.uint8]:
    return np.asarray(basket.data, dtype=np.uint8).reshape(-1)


def _entry_edges(
    branch: Any, basket: Any, number: int, entries: tuple[int, int], width: int = 0
) -> NDArray[np.int64]:
    """Where each entry begins, and the last ends, in bytes; checked.

    A basket may leave its offsets out; then they follow from the branch that counts its values, which
    take `width` bytes each.
    """
    size, length = len(_data(basket)), entries[1] - entries[0]
    if basket.byte_offsets is not None:
        edges = np.asarray(basket.byte_offsets, dtype=np.int64)
        key_length = int(basket.member("fKeylen"))
        if (edges[:1] == -key_length).any():  # uproot has taken sizes for offsets
            edges = np.append(from_sizes(edges[:-1] + key_length, 0), edges[-1])
    elif size and width and (counts := _counts(branch, entries)) is not None:
        edges = np.concatenate([[0], np.cumsum(counts * width)])
    elif length and size:
        raise CorruptFile(f"basket {number} has no entry offsets")
    else:
        return np.zeros(length + 1, np.int64)
    sound = len(edges) == length + 1 and edges[0] == 0 and edges[-1] == size
    if not sound or (np.diff(edges) < 0).any():
        raise CorruptFile(f"basket {number} has entry offsets that contradict its size")
    return edges


def _counts(branch: Any, entries: tuple[int, int]) -> NDArray[np.int64] | None:
    """Read the lengths of a branch's entries from the branch that counts them, if there is one."""
    counting = branch.member("fLeaves")[0].member("fLeafCount", none_if_missing=True)
    for other in branch.tree.itervalues(recursive=True) if counting is not None else ():
        if any(leaf is counting for leaf in other.member("fLeaves")):
            counts = other.array(
                entry_start=entries[0], entry_stop=entries[1], library="np", array_cache=None
            )
            return np.asarray(counts).astype(np.int64)
    return None


def _without_header(
    data: NDArray[np.uint8], edges: NDArray[np.int64], header: int, itemsize: int, number: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Remove the first bytes of each entry; those of a ``std::vector`` hold its length, which is tested."""
    from kernels import jagged

    lengths = np.diff(edges) - header
    if (lengths < 0).any():
        raise CorruptFile(f"basket {number} has an entry without its header")
    if header == 10 and len(lengths):
        where = edges[:-1, None] + np.arange(6, 10)
        said = data[where].view(">u4")[:, 0].astype(np.int64)
        if (said * itemsize != lengths).any():
            raise CorruptFile(f"basket {number} has a vector whose length contradicts its bytes")
    pieces = np.empty(2 * len(lengths) + 1, np.int64)
    pieces[::2] = edges
    pieces[1::2] = edges[:-1] + header
    return jagged.gather_bytes(data, pieces, np.arange(len(lengths), dtype=np.int64) * 2 + 1)


def _without_lengths(
    data: NDArray[np.uint8], edges: NDArray[np.int64], header: int, number: int
) -> tuple[NDArray[np.uint8], tuple[NDArray[np.int64]]]:
    """Remove the length before each text: one byte, 255 and four bytes, or nothing at all.

    ROOT stores an empty C string as no byte; uproot takes the next string's length for it.
    """
    from kernels import jagged

    starts, sizes = edges[:-1] + header, np.diff(edges) - header
    padded = np.concatenate([data, np.zeros(5, np.uint8)])
    first = padded[starts].astype(np.int64)
    widths = np.where(sizes <= 0, 0, np.where(first == 255, 5, 1))
    four = padded[starts[:, None] + np.arange(1, 5)].view(">i4")[:, 0]
    said = np.where(widths == 5, four, np.where(widths == 1, first, 0))
    if (sizes < 0).any() or (said + widths != sizes).any():
        raise CorruptFile(f"basket {number} has a text whose length contradicts its bytes")
    pieces = np.empty(2 * len(sizes) + 1, np.int64)
    pieces[::2] = edges
    pieces[1::2] = starts + widths
    texts, offsets = jagged.gather_bytes(data, pieces, np.arange(len(sizes), dtype=np.int64) * 2 + 1)
    return texts, (offsets,)
