"""Copy trees from inputs into an output without unpacking what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.format.blocks import Compression
from grid.rootio.format.described import ClassInfo, Streamers
from grid.rootio.format.objects import text
from grid.rootio.verbatim.baskets import baskets_of, flushed
from grid.rootio.verbatim.checking import Job, mark
from grid.rootio.verbatim.copying import check, copy
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verbatim.template import Differs, Template
from grid.rootio.verbatim.tree import MergedTree, in_order
from sitecfg.errors import ClosureError, InputError, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from grid.rootio.sink import Sink, SinkObject
    from grid.rootio.verbatim.baskets import Baskets, Embedded
    from grid.rootio.verbatim.slots import TreeView

__all__ = ["Copier"]


@dataclass(slots=True)
class _Tree:
    """A tree of the output: where it goes, and what is known of it."""

    made: SinkObject
    merged: MergedTree


@dataclass(slots=True)
class _Part:
    """A tree of one input; ``parent`` is where its directory lies there."""

    tree: _Tree
    view: TreeView
    baskets: Baskets
    parent: int


class Copier:
    """Appends inputs to trees of an output.

    Parameters
    ----------
    sink
        The output.
    sealed
        Whether checksums that need no unpacking are tested.
    threads
        How many stretches of an input are under way at once.
    """

    def __init__(self, sink: Sink, *, sealed: bool, threads: int = 2) -> None:
        self._sink, self._sealed, self._threads = sink, sealed, threads
        self._trees: dict[str, _Tree] = {}
        self._classes: dict[tuple[str, int, int], ClassInfo] = {}
        self._rules: dict[bytes, None] = {}
        self._first = ""
        #: Packed bytes whose checksums were tested.
        self.covered = 0
        #: What a person should know.
        self.notes: list[str] = []

    @property
    def entries(self) -> dict[str, int]:
        """The entries of each tree so far."""
        return {path: tree.merged.entries for path, tree in self._trees.items()}

    def branches(self, path: str) -> set[bytes]:
        """Return the names of a tree's branches, nested ones too."""
        return {branch.name for branch in self._trees[path].merged.template.branches}

    def add(
        self, source: Input, paths: Collection[str], progress: Callable[[int], None] | None = None
    ) -> int:
        """Append trees of an input; return the adler32 of the whole input, all of which is read.

        Raises
        ------
        CorruptFile
            If a basket is not what its tree says.
        SchemaMismatch
            If a tree differs from that of the first input in more than what is counted.
        UnsupportedContent
            If it holds what can't be copied like this.
        """
        self._first = self._first or str(source.path)
        for info in source.streamers.classes:
            self._classes.setdefault(info.key, info)
        for rule in source.streamers.rules:
            self._rules.setdefault(rule)
        parts = [self._part(source, path) for path in paths]
        job, order = _job(parts)
        copied = copy(
            source.image, job, self._sink.out, sealed=self._sealed, threads=self._threads, progress=progress
        )
        self.covered += copied.covered
        self._note_names(source, parts, copied.renamed)
        seeks, marks = np.empty_like(copied.seeks), np.empty_like(copied.marks)
        seeks[order], marks[order] = copied.seeks, copied.marks
        at = 0
        for part in parts:
            mine = slice(at, at + len(part.baskets.seeks))
            late = [self._flush(part, one, source) for one in part.baskets.embedded]
            part.tree.merged.add(part.view, part.baskets, seeks[mine], marks[mine], late)
            at = mine.stop
        return copied.adler

    def finish(self) -> None:
        """Tell the output what its trees and its streamer info are."""
        self._sink.streamers = Streamers(tuple(self._classes.values()), tuple(self._rules))
        for tree in self._trees.values():
            tree.made.body = tree.merged.body

    def check(self, path: Path, adler: int) -> None:
        """Test the finished output, whose adler32 is known, as an input is tested.

        Raises
        ------
        ClosureError
            If it is not what was to be written.
        """
        try:
            with Input(path) as source:
                parts = [self._part(source, name) for name in self._trees]
                job, order = _job(parts)
                checked = check(source.image, job, sealed=self._sealed, threads=self._threads)
        except (InputError, KeyError) as error:
            raise ClosureError(f"what was written is not sound: {error}", where=str(path)) from error
        marks = np.empty_like(checked.marks)
        marks[order] = checked.marks
        at = 0
        for part in parts:
            mine = slice(at, at + len(part.baskets.seeks))
            self._as_written(part, marks[mine], str(path))
            at = mine.stop
        if checked.adler != adler:
            raise ClosureError("it reads back differently each time", where=str(path))

    def _as_written(self, part: _Part, marks: NDArray[np.uint64], path: str) -> None:
        """Hold a tree that was read back against what was copied: the same baskets in each branch and order."""
        merged, found = part.tree.merged, part.baskets
        entries = part.view.numbers(part.view.template.tree)["fEntries"]
        if entries != merged.entries:
            raise ClosureError(f"its tree has {entries} entries instead of {merged.entries}", where=path)
        lie = in_order(
            np.stack([found.branches, found.nbytes, found.firsts, found.seeks, marks.view(np.int64)])
        )
        wanted = merged.lie()
        if lie.shape != wanted.shape or (lie != wanted).any():
            raise ClosureError(
                "its branches don't have the baskets of the inputs, in their order", where=path
            )

    def _note_names(self, source: Input, parts: Sequence[_Part], renamed: Sequence[int]) -> None:
        if not renamed:
            return
        names = [branch.name for part in parts for branch in part.view.template.branches]
        some = ", ".join(names[kind].decode("utf-8", "backslashreplace") for kind in renamed[:5])
        more = f" and {len(renamed) - 5} more" if len(renamed) > 5 else ""
        self.notes.append(f"{source.path}: the baskets of these branches have other names: {some}{more}")

    def _part(self, source: Input, path: str) -> _Part:
        entry = source.trees[path]
        where = source.image.where(path)
        data, key = source.unpacked(entry), entry.key
        tree = self._trees.get(path)
        if tree is None:
            template = Template(data, key.length, entry.class_name, source.streamers.classes, where)
            title = key.title.decode("utf-8", "surrogateescape")
            made = self._sink.object(path, entry.class_name, title)
            tree = self._trees[path] = _Tree(made, MergedTree(template))
            view = template.view()
        else:
            try:
                view = tree.merged.template.match(data, key.length, where)
            except Differs as error:
                raise SchemaMismatch(
                    f"its tree is not described as that of {self._first}", where=where
                ) from error
        return _Part(tree, view, baskets_of(view, where), key.parent)

    def _flush(self, part: _Part, one: Embedded, source: Input) -> tuple[int, int, int]:
        """Put a basket that lay inside its tree on file; return where, its size, and its mark."""
        word = int(part.baskets.numbers["fCompress"][one.branch])
        compression = Compression.of_word(source.skeleton.header.compression if word < 0 else word)
        out = self._sink.out
        key, payload = flushed(one, compression, out.position, part.tree.made.place)
        return out.append(key, payload), len(key) + len(payload), mark(payload)


def _job(parts: Sequence[_Part]) -> tuple[Job, Any]:
    """Put the baskets of all trees of an input in the order in which they lie there; return that order, too."""
    names: list[bytes] = []
    columns: list[list[Any]] = [[], [], [], [], [], []]
    for part in parts:
        base = len(names)
        branches = part.view.template.branches
        names += [text(b"TBasket") + text(branch.name) + text(part.tree.made.names[1]) for branch in branches]
        for column, values in zip(
            columns,
            (
                part.baskets.seeks,
                part.baskets.nbytes,
                part.baskets.entries,
                part.baskets.branches + base,
                np.full(len(branches), part.parent),
                np.full(len(branches), part.tree.made.place),
            ),
            strict=True,
        ):
            column.append(values)
    seeks, nbytes, entries, kinds, parents, homes = (
        np.concatenate(column) if column else np.zeros(0, np.int64) for column in columns
    )
    order = np.argsort(seeks, kind="stable")
    return Job(seeks[order], nbytes[order], entries[order], kinds[order], names, parents, homes), order
