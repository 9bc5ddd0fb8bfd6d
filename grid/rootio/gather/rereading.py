"""Read the trees of an output again, in one passage through the file, and add up what their entries hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.format.objects import text
from grid.rootio.format.unpack import unpack
from grid.rootio.gather.ahead import THREADS
from grid.rootio.verbatim.blocks import Unsound
from grid.rootio.verbatim.checking import Job
from grid.rootio.verbatim.copying import check
from grid.rootio.verbatim.proving import NOT_FILLED, Insides
from grid.rootio.verbatim.stretches import Passage
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from grid.rootio.checksums import Checksums
    from grid.rootio.image import Image
    from grid.rootio.verbatim.baskets import Baskets
    from grid.rootio.verbatim.proving import Inside
    from grid.rootio.verbatim.sums import EntrySums

__all__ = ["Again", "read_again"]


@dataclass(frozen=True, slots=True)
class Again:
    """A tree of an output: its name, the names of its branches, its baskets, and where its directory lies.

    ``sums`` and ``columns`` are filled by :func:`read_again`: what each entry holds, and the values of those branches
    (by their number) that are asked for, plain integers, ``[entries]`` each.
    """

    name: bytes
    branches: Sequence[bytes]
    baskets: Baskets
    parent: int
    sums: EntrySums
    columns: dict[int, NDArray[Any]]


def read_again(image: Image, trees: Sequence[Again]) -> Checksums:
    """Read the whole file, test every key and basket of its trees, and add each entry to its tree's sums.

    Returns the file's checksums.

    Raises
    ------
    CorruptFile
        If a basket is not what its tree says, or contradicts itself.
    """
    names = [text(b"TBasket") + text(branch) + text(tree.name) for tree in trees for branch in tree.branches]
    owners = np.repeat(np.arange(len(trees)), [len(tree.branches) for tree in trees])
    bases = np.cumsum([0, *(len(tree.branches) for tree in trees)])
    columns = [
        np.concatenate(parts) if parts else np.zeros(0, np.int64)
        for parts in (
            [tree.baskets.seeks for tree in trees],
            [tree.baskets.nbytes for tree in trees],
            [tree.baskets.firsts for tree in trees],
            [tree.baskets.entries for tree in trees],
            [tree.baskets.branches + base for tree, base in zip(trees, bases[:-1], strict=True)],
        )
    ]
    order = np.argsort(columns[0], kind="stable")
    parents = np.array([tree.parent for tree in trees], np.int64)[owners]
    seeks, nbytes, firsts, entries, kinds = (column[order] for column in columns)
    job = Job(seeks, nbytes, firsts, entries, kinds, names, parents, parents)
    return check(image, job, sealed=True, passage=Passage(THREADS), prover=_Adder(trees, owners, bases)).sums


class _Adder:
    """Adds every entry of every basket to the sums of its tree, and keeps the values of some branches.

    ``owners`` says which tree a kind of basket belongs to, ``bases`` which kind its first branch is.
    """

    def __init__(self, trees: Sequence[Again], owners: NDArray[np.int64], bases: NDArray[np.int64]) -> None:
        self._trees, self._owners, self._bases = trees, owners, bases

    def wants(self, kinds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which baskets have to be unpacked: all."""
        return np.ones(len(kinds), np.bool_)

    def skim(self, inside: Inside, payload: memoryview) -> int:
        """Add a basket that is too large to be unpacked with others."""
        data = np.frombuffer(unpack(payload, inside.size, ""), np.uint8)
        one = Insides._make(np.array([value]) for value in inside)
        try:
            self.look(one, data, np.zeros(1, np.int64))
        except Unsound as error:
            raise CorruptFile(error.what) from error
        return 0

    def look(self, inside: Insides, data: NDArray[np.uint8], begins: NDArray[np.int64]) -> None:
        """Add baskets, unpacked; raises :class:`Unsound` where one contradicts itself."""
        owners = self._owners[inside.kinds]
        for owner in np.unique(owners).tolist():
            rows = np.flatnonzero(owners == owner)
            mine, tree, at = inside.rows(rows), self._trees[owner], begins[rows]
            branches = mine.kinds - self._bases[owner]
            bad = tree.sums.add_baskets(branches, mine.firsts, data, mine.lie(at))
            if bad >= 0:
                raise Unsound(int(rows[bad]), NOT_FILLED)
            for row in np.flatnonzero(np.isin(branches, list(tree.columns))).tolist():
                column = tree.columns[int(branches[row])]
                try:
                    _keep(column, mine.row(row), data[at[row] :])
                except ValueError as error:
                    raise Unsound(int(rows[row]), f"is unsound: {error}") from error


def _keep(column: NDArray[Any], inside: Inside, data: NDArray[np.uint8]) -> None:
    if inside.data != inside.entries * column.itemsize:
        raise ValueError(f"it has {inside.data} bytes for {inside.entries} numbers")
    values = np.frombuffer(data, column.dtype.newbyteorder(">"), inside.entries)
    column[inside.first : inside.first + inside.entries] = values
