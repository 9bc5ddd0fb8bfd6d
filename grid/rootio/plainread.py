"""Read the baskets of plain branches straight from the file, each checked against its key."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.columns import Branch, Column
from grid.rootio.format.keys import parse_key
from grid.rootio.format.unpack import unpack
from grid.rootio.plaintree import plain_tree
from grid.rootio.readers import BranchReader, TreeReader
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grid.rootio.image import Image
    from grid.rootio.plaintree import PlainBranch
    from grid.rootio.source import TreeInfo

__all__ = ["open_plain"]

_BASKET = struct.Struct(">HiiiiB")
_NAMES = {"b1": "bool", "f4": "float", "f8": "double"}


def open_plain(image: Image, seek: int, path: str) -> tuple[TreeInfo, TreeReader] | None:
    """Describe the tree whose key lies at `seek`, and make its readers; ``None`` if it isn't plain.

    Raises
    ------
    CorruptFile
        If there is no sound key, or what it holds doesn't unpack.
    """
    from grid.rootio.source import TreeInfo

    key = image.key(seek, path)
    if key.class_name != b"TTree":
        return None
    payload = image.read(seek + key.length, key.nbytes - key.length, path)
    tree = plain_tree(unpack(payload, key.object_bytes, image.where(path)), key.length)
    if tree is None or len({branch.name for branch in tree.branches}) != len(tree.branches):
        return None
    reader = TreeReader()
    for plain in tree.branches:
        branch = _branch(plain)
        baskets = _Baskets(image, plain, branch)
        reader.readers[plain.name] = BranchReader(
            branch, baskets, plain.edges, _unpacked(plain), baskets.column
        )
        reader.compression_codes.append(plain.compression)
    return TreeInfo(path, "TTree", tree.entries, tree.title, reader.branches, ()), reader


def _branch(plain: PlainBranch) -> Branch:
    dtype = plain.disk.newbyteorder("=")
    kind = f"{dtype.kind}{dtype.itemsize}"
    typename = _NAMES.get(kind) or f"{'u' if dtype.kind == 'u' else ''}int{8 * dtype.itemsize}_t"
    jagged = int(plain.counter is not None)
    return Branch(plain.name, plain.title, dtype, plain.shape, jagged, plain.counter, False, typename)


def _unpacked(plain: PlainBranch) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Estimate the unpacked bytes of each basket: its packed bytes times the branch's mean ratio."""
    packed = np.asarray(plain.nbytes, dtype=np.float64)
    return packed * (plain.unpacked / packed.sum()) if len(packed) else packed


@dataclass(frozen=True, slots=True)
class _Baskets:
    """Unpacks one basket of a branch."""

    image: Image
    plain: PlainBranch
    branch: Branch

    def __call__(self, number: int, start: int, stop: int) -> Column:
        data, edges = self._unpack(number, stop - start)
        try:
            return self.column(data, stop - start, edges)
        except CorruptFile as error:
            raise CorruptFile(f"basket {number} is unsound: {error.what}") from error

    def column(
        self, data: memoryview | NDArray[np.uint8], entries: int, edges: NDArray[np.int64] | None
    ) -> Column:
        """Return the values of entries from their bytes; see :class:`grid.rootio.readers.BranchReader`."""
        disk = self.plain.disk
        width = disk.itemsize * math.prod(self.plain.shape)
        if len(data) % width:
            raise CorruptFile(f"its {len(data)} bytes are no whole number of values")
        values = np.frombuffer(data, disk).astype(self.branch.dtype).reshape(-1, *self.plain.shape)
        if self.plain.counter is None:
            if len(values) != entries:
                raise CorruptFile(f"it has {len(values)} values for {entries} entries")
            return Column(values)
        if edges is None:
            edges = np.arange(entries + 1) * (len(data) // max(entries, 1))
        offsets, rest = np.divmod(edges, width)
        if rest.any():
            raise CorruptFile("it has an entry that is no whole number of values")
        return Column(values, (offsets,))

    def _unpack(self, number: int, entries: int) -> tuple[memoryview, NDArray[np.int64] | None]:
        """Return a basket's bytes, and where each entry begins and the last ends, if they vary in size."""
        seek, nbytes = self.plain.seeks[number], self.plain.nbytes[number]
        raw = self.image.read(seek, nbytes, f"basket {number}")
        key, at = parse_key(raw)
        if (key.seek, key.nbytes, key.class_name) != (seek, nbytes, b"TBasket"):
            raise CorruptFile(f"where basket {number} should lie is something else")
        _, _, _, held, last, _ = _BASKET.unpack_from(raw, at)
        data = memoryview(unpack(raw[key.length :], key.object_bytes, self.image.where(self.plain.name)))
        border = last - key.length
        if held != entries or not 0 <= border <= len(data):
            raise CorruptFile(
                f"basket {number} says that it has {held} entries in {border} bytes, not {entries}"
            )
        if self.plain.counter is None:
            return data[:border], None
        edges = np.empty(entries + 1, np.int64)
        stored = np.frombuffer(data, ">i4", offset=border)
        if len(stored) < entries + 1 and (entries or border):
            raise CorruptFile(
                f"basket {number} has {len(stored)} words of entry offsets for {entries} entries"
            )
        edges[:-1] = stored[1 : entries + 1] - np.int64(key.length)
        edges[-1] = border
        if edges[0] != 0 or (np.diff(edges) < 0).any():
            raise CorruptFile(f"basket {number} has entry offsets that contradict its size")
        return data[:border], edges
