"""Histograms of any number of dimensions: dense ones (``THn``), and those that hold filled bins only (``THnSparse``).

The layout is that of ROOT's ``THnBase``, ``TNDArray`` and ``THnSparseArrayChunk``. A sparse histogram keeps its bins in
chunks of one size, of which only the last may have room; where a bin lies is packed into a few bytes, which are the
same for the same axes.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.format.keys import parse_text
from grid.rootio.format.nodes import after_tobject
from grid.rootio.format.objects import BYTE_COUNT, NEW_CLASS, tobject, versioned
from grid.rootio.objects.adding import (
    added,
    added_where_there,
    joined_bins,
    squares_where_there,
    sum_of_squares,
    sums_of,
)
from grid.rootio.objects.anatomy import ARRAYS, KINDS, POINTER, Part, array, counted, number, numbers
from grid.rootio.objects.histograms import axis
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from grid.rootio.format.nodes import Node
    from grid.rootio.objects.anatomy import Anatomy
    from grid.rootio.objects.stored import Stored

__all__ = ["dense", "is_dense", "is_sparse", "sparse"]

_DENSE: Final = re.compile(r"THnT<[\w ]+>")
_SPARSE: Final = re.compile(r"THnSparseT<TArray(C|S|I|L|L64|F|D)>")
#: The types of dense histograms' bins, as ROOT spells them.
_NUMBERS: Final = {
    "char": "i1",
    "short": "i2",
    "int": "i4",
    "unsigned int": "u4",
    "long": "i8",
    "Long64_t": "i8",
    "float": "f4",
    "double": "f8",
}
_INT, _LONG = 4, 8
#: The count of an object's bytes, and its version.
_HEAD: Final = 6
_CHUNK_VERSION: Final = 1


def is_dense(class_name: str) -> bool:
    """Return whether objects of a class are added up as histograms of many dimensions that hold every bin."""
    return _DENSE.fullmatch(class_name) is not None


def is_sparse(class_name: str) -> bool:
    """Return whether objects of a class are added up as histograms that hold filled bins only."""
    return _SPARSE.fullmatch(class_name) is not None


def dense(stored: Stored, node: Node, path: str, anatomy: Anatomy) -> None:
    """Add what a dense histogram consists of to an anatomy, under names that begin with `path`.

    Raises
    ------
    UnsupportedContent
        If it is not described as such histograms are.
    """
    _common(stored, node, path, anatomy)
    for name in ("fArray", "fSumw2"):
        inner = node.inner.get(name)
        kind = inner and _NUMBERS.get(inner.class_name.removeprefix("TNDArrayT<").removesuffix(">"))
        if inner is None or not kind or "fData" not in inner.marks:
            raise _unknown(stored, node)
        at, code = inner.marks["fData"]
        if code - POINTER in KINDS:
            counts = numbers(inner)
            size = int(number(stored, counts["fNumData"])[0]) if "fNumData" in counts else -1
            begin, end, values = counted(stored, inner, "fData", size)
            head = "flag"
        else:
            begin, end, values = _vector(stored, at, kind)
            head = "count"
        squares = squares_where_there(path + "fArray", path + "fTsumw2")
        combine = added_where_there if name == "fArray" else squares
        anatomy.parts[path + name] = Part(begin, end, values, head, combine)


def sparse(stored: Stored, node: Node, path: str, anatomy: Anatomy) -> None:
    """Add what a sparse histogram consists of to an anatomy, under names that begin with `path`.

    Raises
    ------
    UnsupportedContent, CorruptFile
        If it is not described as such histograms are, or its bins are not as many as it says, or not told apart.
    """
    errors = _common(stored, node, path, anatomy)
    plain, array_class = numbers(node), node.class_name.removeprefix("THnSparseT<").removesuffix(">")
    if not {"fChunkSize", "fFilledBins"} <= plain.keys() or "fBinContent" not in node.inner:
        raise _unknown(stored, node)
    size = int(number(stored, plain["fChunkSize"])[0])
    anatomy.same[path + "fChunkSize"] = size
    chunks = [_chunk(stored, one, array_class, size) for one in stored.children(node.inner["fBinContent"])]
    if any(len(one.bins) != size for one in chunks[:-1]) or any(one.errors != errors for one in chunks):
        raise _unknown(stored, node)
    none = np.zeros(0, _bin(0, ARRAYS[array_class], errors=errors))
    bins = np.concatenate([one.bins for one in chunks] or [none])
    said = int(number(stored, plain["fFilledBins"])[0])
    if size <= 0 or said != len(bins) or len(np.unique(bins["at"])) != said:
        raise CorruptFile(f"its {len(bins)} bins are not {said} different ones", where=stored.where)
    _, listed = parse_text(stored.data, after_tobject(stored.data, node.inner["fBinContent"].begin + _HEAD))
    filled, _ = plain["fFilledBins"]
    anatomy.parts[path + "bins"] = _Bins(bins, filled, listed, chunks, size, array_class)


def _common(stored: Stored, node: Node, path: str, anatomy: Anatomy) -> bool:
    """Add what both kinds have; return whether they hold squares of weights."""
    plain = numbers(node)
    if (
        not {"fNdimensions", "fEntries", "fTsumw", "fTsumw2"} <= plain.keys()
        or not {"fAxes", "fTsumwx", "fTsumwx2"} <= node.inner.keys()
    ):
        raise _unknown(stored, node)
    anatomy.same[path + "fNdimensions"] = number(stored, plain["fNdimensions"])[0]
    for turn, one in enumerate(stored.children(node.inner["fAxes"])):
        anatomy.same.update({f"{path}axis {turn}.{key}": value for key, value in axis(stored, one).items()})
    # sums are kept only where there are squares of weights
    for name, combine in (("fEntries", added), ("fTsumw", sums_of(path)), ("fTsumw2", sum_of_squares(path))):
        place, values = plain[name][0], number(stored, plain[name])
        anatomy.parts[path + name] = Part(place, place + values.itemsize, values, "", combine)
    for name in ("fTsumwx", "fTsumwx2"):
        begin, end, values = array(stored, node, name, "f8")
        anatomy.parts[path + name] = Part(begin, end, values, "count", sums_of(path))
    # -1 says that there are none
    return bool(number(stored, plain["fTsumw2"])[0] >= 0)


def _vector(stored: Stored, at: int, kind: str) -> tuple[int, int, NDArray[Any]]:
    """Return the numbers of a vector: where their count begins, where they end, and what they are."""
    counted_bytes, _, size = struct.unpack_from(">IHi", stored.data, at)
    begin, end = at + _HEAD, at + _INT + (counted_bytes & ~BYTE_COUNT)
    if size < 0 or begin + _INT + size * np.dtype(kind).itemsize != end:
        raise CorruptFile(f"a vector in it says that it has {size} numbers", where=stored.where)
    return begin, end, np.frombuffer(stored.data, ">" + kind, size, begin + _INT).astype(kind)


def _unknown(stored: Stored, node: Node) -> UnsupportedContent:
    return UnsupportedContent(
        f"its {node.class_name} is described in a way that is not known here", where=stored.where
    )


def _bin(width: int, kind: str, *, errors: bool) -> np.dtype[Any]:
    """Return the type of a bin; two texts of one length are the same if their bytes are."""
    square = [("square", "f8")] if errors else []
    return np.dtype([("at", f"S{max(1, width)}"), ("content", kind), *square])


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A chunk: its bins, and where its coordinates (with their size), contents and squares begin and end.

    Without squares (``errors``) there is a pointer to nothing in their place.
    """

    bins: NDArray[Any]
    coordinates: tuple[int, int]
    contents: tuple[int, int]
    squares: tuple[int, int]
    errors: bool


def _chunk(stored: Stored, node: Node, array_class: str, size: int) -> _Chunk:
    assert stored.walk is not None
    plain = numbers(node)
    inner = {name: stored.walk.nodes.get(node.marks.get(name, (-2, 0))[0]) for name in ("fContent", "fSumw2")}
    contents, squares = inner["fContent"], inner["fSumw2"]
    (version,) = struct.unpack_from(">h", stored.data, node.begin + 4)
    if (
        version != _CHUNK_VERSION
        or not {"fSingleCoordinateSize", "fCoordinatesSize"} <= plain.keys()
        or not {"fCoordinates", "fSumw2"} <= node.marks.keys()
        or contents is None
        or contents.class_name != array_class
    ):
        raise _unknown(stored, node)
    width, total = (
        int(number(stored, plain[name])[0]) for name in ("fSingleCoordinateSize", "fCoordinatesSize")
    )
    place, _ = plain["fCoordinatesSize"]
    at, end, packed = counted(stored, node, "fCoordinates", total)
    begin, stop, values = array(stored, contents, array_class, ARRAYS[array_class])
    count, rest = divmod(total, width) if width > 0 else (0, total)
    if at != place + _INT or rest or len(packed) != total or not count <= size == len(values):
        raise CorruptFile(f"a chunk of its bins has {total} bytes of coordinates", where=stored.where)
    bins = np.zeros(count, _bin(width, ARRAYS[array_class], errors=squares is not None))
    if count:
        bins["at"] = packed.view(f"S{width}")
    bins["content"] = values[:count]
    if squares is None:
        nothing, _ = node.marks["fSumw2"]
        return _Chunk(bins, (place, end), (begin, stop), (nothing, nothing + _INT), errors=False)
    first, last, weights = array(stored, squares, "TArrayD", "f8")
    if len(weights) != size:
        raise CorruptFile(f"a chunk of its bins has {len(weights)} squares of weights", where=stored.where)
    bins["square"] = weights[:count]
    return _Chunk(bins, (place, end), (begin, stop), (first, last), errors=True)


@dataclass(frozen=True, slots=True)
class _Bins:
    """The bins of a sparse histogram; a part of it, as :class:`grid.rootio.objects.anatomy.Part` is one.

    ``filled`` and ``listed`` are where their number and that of the chunks stand; chunks that come to those that are
    there come before them, as only the last may have room.
    """

    values: NDArray[Any]
    filled: int
    listed: int
    chunks: Sequence[_Chunk]
    size: int
    array_class: str

    combine = staticmethod(joined_bins)

    @property
    def spans(self) -> list[tuple[int, int]]:
        """Where they stand."""
        before = self.listed + 2 * _INT
        found = [(self.filled, self.filled + _LONG), (self.listed, self.listed + _INT), (before, before)]
        for chunk in self.chunks:
            found += [chunk.coordinates, chunk.contents, chunk.squares]
        return found

    def encode(self, values: NDArray[Any]) -> dict[tuple[int, int], bytes]:
        """Return the bytes of each span."""
        whole = max(-(-len(values) // self.size), len(self.chunks))
        parts = [values[at * self.size : (at + 1) * self.size] for at in range(whole)]
        new = whole - len(self.chunks)
        said = [
            struct.pack(">q", len(values)),
            struct.pack(">i", whole),
            b"".join(map(self._new, parts[:new])),
        ]
        for chunk, part in zip(self.chunks, parts[new:], strict=True):
            said += [self._coordinates(part), self._array(part["content"])]
            said.append(self._array(part["square"]) if chunk.errors else self._squares(part))
        return dict(zip(self.spans, said, strict=True))

    def _coordinates(self, part: NDArray[Any]) -> bytes:
        packed = np.ascontiguousarray(part["at"]).tobytes()
        return struct.pack(">i", len(packed)) + (b"\1" + packed if packed else b"\0")

    def _array(self, values: NDArray[Any]) -> bytes:
        padded = np.zeros(self.size, values.dtype.newbyteorder(">"))
        padded[: len(values)] = values
        return struct.pack(">i", self.size) + padded.tobytes()

    def _squares(self, part: NDArray[Any]) -> bytes:
        """Return the pointer to the squares of weights, if there are some; it refers to nothing."""
        there = "square" in (part.dtype.names or ())
        return _pointer("TArrayD", self._array(part["square"])) if there else bytes(_INT)

    def _new(self, part: NDArray[Any]) -> bytes:
        """Return the pointer to a new chunk; it names its classes, and so refers to nothing."""
        width = struct.pack(">i", part["at"].dtype.itemsize)
        contents = _pointer(self.array_class, self._array(part["content"]))
        body = tobject() + width + self._coordinates(part) + contents + self._squares(part)
        return _pointer("THnSparseArrayChunk", versioned(_CHUNK_VERSION, body))


def _pointer(class_name: str, body: bytes) -> bytes:
    named = NEW_CLASS + class_name.encode() + b"\0" + body
    return struct.pack(">I", len(named) | BYTE_COUNT) + named
