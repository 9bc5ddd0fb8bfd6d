"""Unpack what a file's keys hold, and test that counts and checksums agree."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grid.rootio.format.baskets import entry_offsets, parse_head
from grid.rootio.format.keys import key_length
from grid.rootio.format.unpack import blocks_of, seals, unpack_covered
from grid.rootio.treescan import scan_tree
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from grid.rootio.format.keys import Key
    from grid.rootio.format.records import Header
    from grid.rootio.image import Image
    from grid.rootio.structure import Entry
    from grid.rootio.treescan import BranchScan, TreeScan

__all__ = ["Contents", "TreeStructure"]

#: No description of a tree is larger; a packed one that claims more is a bomb.
_LARGEST_TREE = 1 << 30
#: Baskets whose entry offsets are looked at are held whole.
_LARGEST_HELD = 1 << 28
_LOT = 4 << 20


@dataclass(frozen=True, slots=True)
class TreeStructure:
    """One tree: ``kind`` is TTree or RNTuple; ``pieces`` are baskets or pages; sizes in bytes."""

    path: str
    kind: str
    entries: int
    branches: int
    pieces: int
    packed_bytes: int


class Contents:
    """Tests objects one after the other; adds up what checksums cover."""

    def __init__(
        self,
        image: Image,
        *,
        depth: str,
        threads: int,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.image = image
        self.depth = depth
        self.covered = 0
        self.notes: list[str] = []
        #: Position and length of the records that no directory lists.
        self.extents: list[tuple[int, int]] = []
        self._threads, self._progress = threads, progress
        self._done = 0

    def tree(self, entry: Entry) -> TreeStructure:
        """Test a TTree and all of its baskets."""
        key, where = entry.key, self.image.where(entry.path)
        if key.object_bytes > _LARGEST_TREE:
            raise UnsupportedContent(f"its description takes {key.object_bytes} bytes", where=where)
        payload = self.image.read(key.seek + key.length, key.packed_bytes, entry.path)
        data, covered = unpack_covered(payload, key.object_bytes, where)
        self._count(covered, key.nbytes)
        scan = scan_tree(data, key.length, entry.class_name, where)
        self._branch_counts(scan, where)
        baskets = sorted(
            (seek, nbytes, entries, branch)
            for branch in scan.branches
            for seek, nbytes, entries in zip(branch.seeks, branch.nbytes, branch.entries, strict=True)
            if not branch.foreign
        )
        if any(branch.foreign for branch in scan.branches):
            self.notes.append(f"{entry.path}: some branches keep their baskets in other files")
        self.extents += [(seek, nbytes) for seek, nbytes, _, _ in baskets]
        self._baskets(baskets, where)
        packed = sum(nbytes for _, nbytes, _, _ in baskets)
        return TreeStructure(entry.path, "TTree", scan.entries, len(scan.branches), len(baskets), packed)

    def ntuple(self, entry: Entry) -> TreeStructure:
        """Test an RNTuple: anchor, envelopes and pages."""
        from grid.rootio.ntuplescan import scan_ntuple

        scan = scan_ntuple(self.image, entry, depth=self.depth)
        self._count(scan.covered, 0)
        self._tell(scan.packed_bytes)
        return TreeStructure(entry.path, "RNTuple", scan.entries, scan.fields, scan.pages, scan.packed_bytes)

    def objects(self, entries: Sequence[Entry], header: Header) -> None:
        """Test all other objects, and the streamer info: they must unpack."""
        if self.depth == "copied":
            return
        for entry in entries:
            if not entry.class_name.startswith("TDirectory"):
                self._whole(entry.key, entry.path)
        if header.seek_info:
            self._whole(self.image.key(header.seek_info, "the streamer info"), "the streamer info")

    def _whole(self, key: Key, path: str) -> None:
        payload = self.image.read(key.seek + key.length, key.packed_bytes, path)
        self._count(self._cover(payload, key.object_bytes, self.image.where(path)), key.nbytes)

    def _cover(self, payload: memoryview, size: int, where: str) -> int:
        """Test what is behind a key; return how many bytes of it are under checksums, which all hold."""
        if self.depth != "proven":
            return seals(payload, size, where)
        return sum(block.packed for block in blocks_of(payload, size, where) if block.covered)

    def _count(self, covered: int, nbytes: int) -> None:
        self.covered += covered
        self._tell(nbytes)

    def _tell(self, nbytes: int) -> None:
        self._done = min(self._done + nbytes, self.image.size)
        if self._progress is not None:
            self._progress(self._done, self.image.size)

    def _branch_counts(self, scan: TreeScan, where: str) -> None:
        for branch in scan.branches:
            found = sum(branch.entries) + branch.embedded
            if min(branch.entries, default=0) < 0:
                raise CorruptFile(f"the baskets of branch {branch.name!r} are out of order", where=where)
            if found != branch.total and not (branch.is_folder and found == 0):
                raise CorruptFile(
                    f"branch {branch.name!r} says that it has {branch.total} entries, its baskets {found}",
                    where=where,
                )
        other = [branch.name for branch in scan.branches if branch.total > scan.entries]
        if other:
            self.notes.append(f"{where}: branches with more entries than their tree: {', '.join(other[:5])}")

    def _baskets(self, baskets: Sequence[tuple[int, int, int, BranchScan]], where: str) -> None:
        def test(lot: Sequence[tuple[int, int, int, BranchScan]]) -> tuple[int, int]:
            return sum(self._basket(*basket, where) for basket in lot), sum(b[1] for b in lot)

        with ThreadPoolExecutor(max(1, self._threads)) as pool:
            for covered, nbytes in pool.map(test, _lots(baskets)):
                self._count(covered, nbytes)

    def _basket(self, seek: int, nbytes: int, entries: int, branch: BranchScan, where: str) -> int:
        what = f"a basket of branch {branch.name!r}"
        key = self.image.key(seek, f"{where}: {what}")
        if key.nbytes != nbytes or key.class_name != b"TBasket":
            raise CorruptFile(f"{what} at {seek} is not what its tree says", where=where)
        if self.depth == "copied":
            return 0
        data = self.image.read(seek, nbytes, what)
        names = key_length(key.class_name, key.name, key.title, big=key.big)
        try:
            head = parse_head(data[: key.length], names)
        except ValueError as error:
            raise CorruptFile(f"{what} at {seek} is unsound: {error}", where=where) from error
        if head.entries != entries:
            raise CorruptFile(f"{what} at {seek} holds {head.entries} entries, not {entries}", where=where)
        last = head.last
        if not key.length <= last <= key.length + key.object_bytes:
            raise CorruptFile(f"{what} at {seek} ends outside of itself", where=where)
        payload = data[key.length :]
        where = f"{where}: {what} at {seek}"
        if (
            self.depth != "proven"
            or key.object_bytes > _LARGEST_HELD
            or last == key.length + key.object_bytes
        ):
            return self._cover(payload, key.object_bytes, where)
        unpacked, covered = unpack_covered(payload, key.object_bytes, where)
        try:
            entry_offsets(unpacked, last - key.length, entries, key.length, sizes=head.sizes)
        except ValueError as error:
            raise CorruptFile(str(error), where=where) from error
        return covered


def _lots(
    baskets: Iterable[tuple[int, int, int, BranchScan]],
) -> Iterator[list[tuple[int, int, int, BranchScan]]]:
    lot: list[tuple[int, int, int, BranchScan]] = []
    size = 0
    for basket in baskets:
        lot.append(basket)
        size += basket[1]
        if size >= _LOT:
            yield lot
            lot, size = [], 0
    if lot:
        yield lot
