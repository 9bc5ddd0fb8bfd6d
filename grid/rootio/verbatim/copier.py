"""Copy trees from inputs into an output without changing what they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.format.blocks import Compression
from grid.rootio.format.described import ClassInfo, Streamers
from grid.rootio.format.objects import text
from grid.rootio.verbatim.appending import Added
from grid.rootio.verbatim.baskets import Late, baskets_of, flushed
from grid.rootio.verbatim.blocks import numba_pays_from
from grid.rootio.verbatim.checking import Job
from grid.rootio.verbatim.copying import check, copy
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verbatim.proving import Inside, Prover
from grid.rootio.verbatim.stretches import Passage
from grid.rootio.verbatim.template import Differs, Template
from grid.rootio.verbatim.tree import MergedTree
from grid.rootio.verbatim.treeindex import same
from kernels import content
from sitecfg.errors import ClosureError, InputError, SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from grid.rootio.checksums import Checksums
    from grid.rootio.sink import Sink, SinkObject
    from grid.rootio.verbatim.baskets import Baskets, Embedded
    from grid.rootio.verbatim.fitting import Rest, United
    from grid.rootio.verbatim.slots import Said

__all__ = ["Copier"]


@dataclass(slots=True)
class _Tree:
    """A tree of the output: where it goes, and what is known of it."""

    made: SinkObject
    merged: MergedTree


@dataclass(slots=True)
class _Part:
    """A tree of one input.

    ``parent`` is where its directory lies there, ``rest`` what the output has beside the baskets that are copied.
    """

    path: str
    tree: _Tree
    said: Said
    baskets: Baskets
    parent: int
    rest: Rest | None = None

    @property
    def template(self) -> Template:
        """What its branches are counted by."""
        return self.tree.merged.template


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An input that is understood: its trees, its baskets in the order in which they lie there (``order``)."""

    source: Input
    parts: list[_Part]
    job: Job
    order: NDArray[np.int64]
    prover: Prover | None


class Copier:
    """Appends inputs to trees of an output.

    Parameters
    ----------
    sink
        The output.
    depth
        ``"copied"``, ``"sealed"`` or ``"proven"``; see :class:`grid.rootio.merging.MergeOptions`.
    identities
        What may tell events apart: names of branches. The first that all are there, as plain integers, do.
    threads
        How many stretches of an input are under way at once.
    united
        By path, the trees that hold all branches of inputs that differ in these.
    """

    def __init__(
        self,
        sink: Sink,
        *,
        depth: str,
        identities: Sequence[Sequence[str]] = (),
        threads: int = 2,
        united: Mapping[str, United] | None = None,
    ) -> None:
        self._sink, self._passage = sink, Passage(threads)
        self._sealed, self._proven = depth == "sealed", depth == "proven"
        self._identities = [tuple(names) for names in identities] if depth != "copied" else []
        #: The branches that tell events apart; empty before the first input, and where there are none.
        self.identity: tuple[str, ...] = ()
        self._keys: dict[int, np.dtype[Any]] = {}
        self._united = united or {}
        self._trees: dict[str, _Tree] = {}
        self._classes: dict[tuple[str, int, int], ClassInfo] = {}
        self._rules: dict[bytes, None] = {}
        self._first = ""
        self._looked_at = 0
        #: Packed bytes whose checksums were tested.
        self.covered = 0
        #: What a person should know.
        self.notes: list[str] = []

    @property
    def entries(self) -> dict[str, int]:
        """The entries of each tree so far."""
        return {path: tree.merged.entries for path, tree in self._trees.items()}

    def names(self, path: str) -> set[str]:
        """Return the names of a tree's branches, nested ones too."""
        return {_str(branch.name) for branch in self._trees[path].merged.template.branches}

    def prepare(self, source: Input, paths: Collection[str]) -> _Prepared:
        """Understand trees of an input without reading their baskets.

        Inputs come in their order; while one is appended the next can be prepared in another thread.

        Raises
        ------
        CorruptFile
            If a tree contradicts itself.
        SchemaMismatch
            If a tree differs from that of the first input in more than what is counted.
        UnsupportedContent
            If it holds what can't be copied like this.
        """
        first = not self._first
        self._first = self._first or str(source.path)
        parts = [self._part(source, path) for path in paths]
        if first:
            self._identify(parts)
        prover = self._prover(parts, everything=self._proven)
        return _Prepared(source, parts, *_job(parts), prover)

    def add(self, prepared: _Prepared, progress: Callable[[int], None] | None = None) -> Added:
        """Append trees of an input, all of which is read.

        Raises
        ------
        CorruptFile
            If a basket is not what its tree says.
        UnsupportedContent
            If it holds what can't be copied like this.
        """
        source, parts, prover = prepared.source, prepared.parts, prepared.prover
        for info in source.streamers.classes:
            self._classes.setdefault(info.key, info)
        for rule in source.streamers.rules:
            self._rules.setdefault(rule)
        copied = copy(
            source.image,
            prepared.job,
            self._sink.out,
            sealed=self._sealed,
            passage=self._passage,
            prover=prover,
            progress=progress,
        )
        self.covered += copied.covered
        self._note_names(source, parts, copied.renamed)
        seeks = np.empty_like(copied.seeks)
        seeks[prepared.order] = copied.seeks
        at = base = 0
        for part in parts:
            mine = slice(at, at + len(part.baskets.seeks))
            late = [self._flush(part, one, source, prover, base) for one in part.baskets.embedded]
            if part.rest is not None:
                late += self._make(part, part.rest, source, prover, base)
            part.tree.merged.add(part.said, part.baskets, seeks[mine], late)
            at, base = mine.stop, base + len(part.template.branches)
        return Added(copied.sums, [] if prover is None else prover.columns)

    def finish(self) -> None:
        """Tell the output what its trees and its streamer info are."""
        self._sink.streamers = Streamers(tuple(self._classes.values()), tuple(self._rules))
        for tree in self._trees.values():
            tree.made.body = tree.merged.body

    def check(self, path: Path, seen: Callable[[Sequence[NDArray[Any]]], None] | None = None) -> Checksums:
        """Read the finished output as an input is read, hold it against what was copied, return its checksums.

        `seen` is told what tells its events apart, some events at a time, in any order.

        Raises
        ------
        ClosureError
            If it is not what was to be written.
        """
        try:
            with Input(path) as source:
                parts = [self._own_part(source, name) for name in self._trees]
                for part in parts:
                    self._as_written(part, str(path))
                # checksums say whether the bytes are those that were copied: only what tells events apart is unpacked
                prover = self._prover(parts, everything=False, seen=seen)
                job, _ = _job(parts, release=True)
                checked = check(source.image, job, sealed=False, passage=self._passage, prover=prover)
        except (InputError, KeyError) as error:
            raise ClosureError(f"what was written is not sound: {error}", where=str(path)) from error
        return checked.sums

    def _identify(self, parts: Sequence[_Part]) -> None:
        """Choose the branches that tell events apart."""
        found: dict[bytes, list[tuple[int, np.dtype[Any] | None]]] = {}
        base = 0
        for part in parts:
            template = part.template
            for number, branch in enumerate(template.branches):
                found.setdefault(branch.name, []).append((base + number, template.integers.get(number)))
            base += len(template.branches)
        for names in self._identities:
            wanted = [found.get(name.encode("utf-8", "surrogateescape"), []) for name in names]
            if all(len(places) == 1 and places[0][1] is not None for places in wanted):
                self.identity = names
                self._keys = {kind: dtype for ((kind, dtype),) in wanted if dtype is not None}
                return

    def _prover(
        self,
        parts: Sequence[_Part],
        *,
        everything: bool,
        seen: Callable[[Sequence[NDArray[Any]]], None] | None = None,
    ) -> Prover | None:
        """Return what looks into the baskets of an input, if anything has to."""
        if not (everything or self._keys):
            return None
        entries = {int(part.said.numbers["fEntries"]) for part in parts}
        if len(entries) > 1:
            raise SchemaMismatch(f"parallel event trees differ in length: {sorted(entries)}")
        if everything:
            self._looked_at += sum(len(part.baskets.seeks) for part in parts)
            content.expect(numba_pays_from(self._looked_at))
            if not self._keys:
                content.expect(sum(int(part.baskets.nbytes.sum()) for part in parts))
        names = [f"{part.path} {_str(branch.name)}" for part in parts for branch in part.template.branches]
        return Prover(entries.pop(), self._keys, names, everything=everything, seen=seen)

    def _as_written(self, part: _Part, path: str) -> None:
        """Hold a tree that was read back against what was copied: the same baskets in each branch and order."""
        merged, found = part.tree.merged, part.baskets
        entries = part.said.numbers["fEntries"]
        if entries != merged.entries:
            raise ClosureError(f"its tree has {entries} entries instead of {merged.entries}", where=path)
        if not same(part.said.index, merged.index):
            raise ClosureError("its tree does not have the index of the inputs' trees", where=path)
        if part.said.table != merged.table:
            raise ClosureError(
                "its tree does not have the table of references of the inputs' trees", where=path
            )
        if not merged.holds(found):
            raise ClosureError(
                "its branches don't have the baskets of the inputs, in their order", where=path
            )

    def _note_names(self, source: Input, parts: Sequence[_Part], renamed: Sequence[int]) -> None:
        if not renamed:
            return
        names = [branch.name for part in parts for branch in part.template.branches]
        some = ", ".join(names[kind].decode("utf-8", "backslashreplace") for kind in renamed[:5])
        more = f" and {len(renamed) - 5} more" if len(renamed) > 5 else ""
        self.notes.append(f"{source.path}: the baskets of these branches have other names: {some}{more}")

    def _part(self, source: Input, path: str) -> _Part:
        """Understand a tree of an input."""
        united = self._united.get(path)
        if united is None:
            return self._own_part(source, path)
        where, tree = source.image.where(path), self._trees.get(path)
        entry = source.trees[path]
        if tree is None:
            made = self._sink.object(path, entry.class_name, _str(entry.key.title))
            tree = self._trees[path] = _Tree(made, MergedTree(united.template))
        said, baskets, rest = united.fit(source.unpacked(entry), entry.key.length, where)
        return _Part(path, tree, said, baskets, entry.key.parent, rest)

    def _own_part(self, source: Input, path: str) -> _Part:
        """Understand a tree that has the branches of the output."""
        entry = source.trees[path]
        where = source.image.where(path)
        data, key = source.unpacked(entry), entry.key
        tree = self._trees.get(path)
        if tree is None:
            template = Template(data, key.length, entry.class_name, source.streamers.classes, where)
            made = self._sink.object(path, entry.class_name, _str(key.title))
            tree = self._trees[path] = _Tree(made, MergedTree(template))
            view = template.view()
        else:
            try:
                view = tree.merged.template.match(data, key.length)
            except Differs as error:
                raise SchemaMismatch(
                    f"its tree is not described as that of {self._first}", where=where
                ) from error
        return _Part(path, tree, view.said(where), baskets_of(view, where), key.parent)

    def _flush(self, part: _Part, one: Embedded, source: Input, prover: Prover | None, base: int) -> Late:
        """Put a basket that lay inside its tree on file."""
        if prover is not None:
            size, kind = len(one.payload), base + one.branch
            inside = Inside(kind, one.first, one.entries, size, one.data, one.key.length, one.as_sizes)
            prover.entries(inside, one.payload)
        compression = self._compression(part, one.branch, source)
        out = self._sink.out
        key, payload = flushed(one, compression, out.position, part.tree.made.place)
        place = out.append(key, payload)
        return Late(one.branch, one.first, place, len(key) + len(payload), one.key.length + len(one.payload))

    def _make(
        self, part: _Part, rest: Rest, source: Input, prover: Prover | None, base: int
    ) -> Iterator[Late]:
        """Put baskets on file that the input has otherwise, or not at all."""
        out, made = self._sink.out, part.tree.made
        for one in rest.baskets(source.image, _str(made.names[1])):
            if prover is not None:
                inside = Inside(
                    base + one.branch,
                    one.first,
                    one.entries,
                    len(one.payload),
                    one.data,
                    one.key.length,
                    False,
                )
                prover.entries(inside, one.payload)
            packed = one.key.packed(
                one.payload, one.data, one.entries, self._compression(part, one.branch, source)
            )
            head = one.key.encode(packed, out.position, made.place)
            place, size = out.append(head, packed.payload), len(head) + len(packed.payload)
            yield Late(one.branch, one.first, place, size, len(head) + len(one.payload))
        self.covered += rest.covered

    @staticmethod
    def _compression(part: _Part, branch: int, source: Input) -> Compression:
        """Return how an input packs a branch."""
        word = int(part.baskets.numbers["fCompress"][branch])
        return Compression.of_word(source.skeleton.header.compression if word < 0 else word)


def _str(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")


def _job(parts: Sequence[_Part], *, release: bool = False) -> tuple[Job, NDArray[np.int64]]:
    """Put the baskets of all trees of an input in the order in which they lie there; return that order, too.

    ``release``: take them from the parts, so that they are not in memory twice.
    """
    names: list[bytes] = []
    bases = []
    for part in parts:
        bases.append(len(names))
        names += [
            text(b"TBasket") + text(branch.name) + text(part.tree.made.names[1])
            for branch in part.template.branches
        ]
    parents, homes = (
        np.repeat(places, [len(part.template.branches) for part in parts])
        for places in ([part.parent for part in parts], [part.tree.made.place for part in parts])
    )
    order = np.argsort(_together([part.baskets.seeks for part in parts]), kind="stable")
    columns = []
    for name in ("seeks", "nbytes", "firsts", "entries", "branches"):
        mine = [getattr(part.baskets, name) for part in parts]
        if name == "branches":
            mine = [column + base if base else column for column, base in zip(mine, bases, strict=True)]
        columns.append(_together(mine)[order])
        for part in parts if release else ():
            setattr(part.baskets, name, columns[-1][:0])
    seeks, nbytes, firsts, entries, kinds = columns
    return Job(seeks, nbytes, firsts, entries, kinds, names, parents, homes), order


def _together(column: Sequence[NDArray[Any]]) -> NDArray[Any]:
    if len(column) == 1:
        return column[0]
    return np.concatenate(column) if column else np.zeros(0, np.int64)
