"""Prove that a ROOT file is whole: every record in its place, every basket and page unpacks, counts agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from grid.rootio.contents import Contents, TreeStructure
from grid.rootio.image import Image
from grid.rootio.structure import Entry, Skeleton, read_skeleton
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = ["Depth", "Structure", "TreeStructure", "verify"]

#: ``"copied"``: every record's key, and every page's place; ``"sealed"``: that, and every checksum that needs no
#: unpacking; ``"proven"``: that, and every byte that a key holds is unpacked and tested.
Depth = Literal["copied", "sealed", "proven"]
_TREES = frozenset({"TTree", "TNtuple", "TNtupleD"})
_NTUPLES = frozenset({"ROOT::RNTuple", "ROOT::Experimental::RNTuple"})


@dataclass(frozen=True, slots=True)
class Structure:
    """What was proven about a file.

    ``bytes_covered`` of its ``bytes`` are guarded by checksums inside the file, which all hold;
    ``bytes_not_covered`` are guarded by nothing that was tested but, if there is one, a checksum of the
    whole file. ``objects`` counts what is neither tree nor directory.
    """

    path: str
    bytes: int
    trailing_bytes: int
    directories: int
    keys: int
    objects: int
    trees: tuple[TreeStructure, ...]
    bytes_covered: int
    notes: tuple[str, ...]

    @property
    def bytes_not_covered(self) -> int:
        """Bytes in which a flipped bit could not be seen."""
        return self.bytes - self.bytes_covered

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain JSON types."""
        return {
            "path": self.path,
            "bytes": self.bytes,
            "trailing_bytes": self.trailing_bytes,
            "directories": self.directories,
            "keys": self.keys,
            "objects": self.objects,
            "trees": {
                tree.path: {
                    "kind": tree.kind,
                    "entries": tree.entries,
                    "branches": tree.branches,
                    "pieces": tree.pieces,
                    "packed_bytes": tree.packed_bytes,
                }
                for tree in self.trees
            },
            "bytes_covered": self.bytes_covered,
            "bytes_not_covered": self.bytes_not_covered,
            "notes": list(self.notes),
        }


def verify(
    path: Path,
    depth: Depth = "proven",
    *,
    threads: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> Structure:
    """Test a local file's structure; reads it once, with bounded memory.

    Parameters
    ----------
    path
        The file.
    depth
        How much to unpack.
    threads
        How many baskets are unpacked at once.
    progress
        Called with (bytes done, bytes in all).

    Raises
    ------
    NotRootFile, TruncatedFile, CorruptFile
        What is wrong with it; the record is named.
    UnsupportedContent
        It may be sound, but can't be proven here.
    MissingFile
        It can't be read.
    """
    with Image(path) as image:
        skeleton = read_skeleton(image)
        newest = skeleton.newest()
        contents = Contents(image, depth=depth, threads=threads, progress=progress)
        trees = []
        for entry in newest.values():
            if entry.class_name in _TREES:
                trees.append(contents.tree(entry))
            elif entry.class_name in _NTUPLES:
                trees.append(contents.ntuple(entry))
        others = [e for e in skeleton.entries if not (e is newest[e.path] and e.class_name in _TREES)]
        contents.objects(others, skeleton.header)
        _no_overlap(image, [*skeleton.extents, *contents.extents])
        return Structure(
            str(path),
            image.size,
            skeleton.trailing_bytes,
            skeleton.directories,
            len(skeleton.entries),
            sum(_is_object(entry) for entry in newest.values()),
            tuple(trees),
            contents.covered,
            (*_notes(skeleton), *contents.notes),
        )


def _is_object(entry: Entry) -> bool:
    return entry.class_name not in _TREES | _NTUPLES and not entry.class_name.startswith("TDirectory")


def _notes(skeleton: Skeleton) -> list[str]:
    notes = []
    if skeleton.trailing_bytes:
        notes.append(f"{skeleton.trailing_bytes} bytes follow the file's own end")
    older = len(skeleton.entries) - len(skeleton.newest())
    if older:
        notes.append(f"{older} older cycles of objects are not counted")
    return notes


def _no_overlap(image: Image, extents: list[tuple[int, int]]) -> None:
    """Refuse two records on the same bytes: one of them can't be what it says."""
    last, end = 0, 0
    for at, size in sorted(extents):
        if at < end:
            raise CorruptFile(f"the records at {last} and {at} overlap", where=str(image.path))
        last, end = at, at + size
