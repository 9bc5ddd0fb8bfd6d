"""Copy RNTuples from inputs into an output without unpacking their pages."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.format.blocks import Compression, pack
from grid.rootio.format.described import ClassInfo, Streamers
from grid.rootio.format.envelopes import CHECKSUM
from grid.rootio.format.pagelists import PageList
from grid.rootio.ntuple import NTuple, read_ntuple
from grid.rootio.verbatim.appending import Added
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verbatim.ntuple_copy import Pages, check_pages, copy_pages
from grid.rootio.verbatim.ntuple_output import LARGEST_KEY, NTupleOutput, blob_key
from grid.rootio.verbatim.ntuple_proving import PageProver
from grid.rootio.verbatim.ntuple_ranges import Rearranger
from grid.rootio.verbatim.ntuple_schema import Layout, MergedSchema
from grid.rootio.verbatim.stretches import Passage
from sitecfg.errors import ClosureError, InputError, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from grid.rootio.checksums import Checksums
    from grid.rootio.sink import Sink

__all__ = ["NTupleCopier"]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one input adds: lists of pages (positions as in the output) with a mark of each page, and its columns."""

    lists: list[PageList]
    marks: list[NDArray[np.uint64]]
    mapping: NDArray[np.int64]
    late: NDArray[np.bool_]
    where: str


@dataclass(slots=True)
class _Merged:
    """An RNTuple of the output: where it goes, and what is known of it."""

    out: NTupleOutput
    schema: MergedSchema
    first: NTuple
    parts: list[_Part] = field(default_factory=list)
    lists: list[PageList] = field(default_factory=list)
    marks: list[NDArray[np.uint64]] = field(default_factory=list)
    entries: int = 0


@dataclass(frozen=True, slots=True)
class _Prepared:
    """An input that is understood: its RNTuples by path, lists of pages and all pages, and what is which column."""

    source: Input
    found: list[tuple[str, NTuple]]
    lists: list[list[PageList]]
    pages: Pages
    prover: PageProver | None
    mappings: list[NDArray[np.int64]] = field(default_factory=list)


class NTupleCopier:
    """Appends inputs to RNTuples of an output.

    Parameters
    ----------
    sink
        The output.
    depth
        ``"copied"``, ``"sealed"`` or ``"proven"``; see :class:`grid.rootio.merging.MergeOptions`.
    identity
        What tells events apart: an RNTuple, and names of its fields (as `integer_fields` of its schema has them).
    threads
        How many stretches of an input are under way at once.
    """

    def __init__(
        self, sink: Sink, *, depth: str, identity: tuple[str, tuple[str, ...]] | None = None, threads: int = 2
    ) -> None:
        self._sink, self._passage = sink, Passage(threads)
        self._sealed, self._proven = depth != "copied", depth == "proven"
        self._identity = identity
        self._merged: dict[str, _Merged] = {}
        self._classes: dict[tuple[str, int, int], ClassInfo] = {}
        self._rules: dict[bytes, None] = {}
        #: Pages of zeros, by their packed content: position, and the mark of each.
        self._zeros: dict[tuple[str, int], tuple[int, int]] = {}
        self._marks_of_zeros: dict[int, int] = {}
        #: Packed bytes whose checksums were tested.
        self.covered = 0

    @property
    def entries(self) -> dict[str, int]:
        """The entries of each RNTuple so far."""
        return {path: merged.entries for path, merged in self._merged.items()}

    @property
    def notes(self) -> list[str]:
        """What a person should know."""
        return [note for merged in self._merged.values() for note in merged.schema.notes]

    def names(self, path: str) -> set[str]:
        """Return the names of an RNTuple's top fields."""
        return self._merged[path].schema.schema.top

    def prepare(self, source: Input, paths: Collection[str]) -> _Prepared:
        """Understand RNTuples of an input without reading their pages.

        Inputs come in their order; while one is appended the next can be prepared in another thread.

        Raises
        ------
        CorruptFile
            If an RNTuple contradicts itself.
        SchemaMismatch
            If the fields of an RNTuple differ from those of the first input.
        UnsupportedContent
            If it holds what can't be copied.
        """
        found = [(path, self._read(source, path)) for path in paths]
        # before anything is believed of its pages
        mappings = [self._find(path, one, source).schema.match(one) for path, one in found]
        prepared = self._pages(source, found, everything=self._proven)
        for (_, one), mine in zip(found, prepared.lists, strict=True):
            _refuse_unknown(one, mine)
        return replace(prepared, mappings=mappings)

    def add(self, prepared: _Prepared, progress: Callable[[int], None] | None = None) -> Added:
        """Append RNTuples of an input, all of which is read.

        Raises
        ------
        CorruptFile
            If a page is not what the RNTuple says.
        """
        source, found, lists = prepared.source, prepared.found, prepared.lists
        pages, prover = prepared.pages, prepared.prover
        merged = [self._merged[path] for path, _ in found]
        for info in source.streamers.classes:
            self._classes.setdefault(info.key, info)
        for rule in source.streamers.rules:
            self._rules.setdefault(rule)
        parent = merged[0].out.parent

        def key(place: int, size: int) -> bytes:
            return blob_key(self._sink, place, size, parent)

        copied = copy_pages(
            source.image,
            pages,
            self._sink.out,
            key,
            sealed=self._sealed,
            passage=self._passage,
            prover=prover,
            progress=progress,
        )
        if prover is not None:
            prover.check()
        self.covered += copied.covered
        for into, mapping, (_, one), mine in zip(merged, prepared.mappings, found, lists, strict=True):
            self.covered += one.covered + sum(group.size for group in one.footer.groups)
            marks = []
            for part in mine:
                numbers = pages.numbers(part)
                part.offsets = copied.offsets[numbers]
                marks.append(copied.marks[numbers])
            late = np.arange(len(one.schema.columns)) >= one.known[1]
            into.parts.append(_Part(mine, marks, mapping, late, one.where))
            into.entries += one.entries
            out = into.out
            out.version = max(out.version, one.anchor.version)
            out.attributes = one.footer.attributes if out.attributes is None else out.attributes
        return Added(copied.sums, [] if prover is None else prover.columns)

    def finish(self) -> None:
        """Write the lists of pages and footers, and tell the output what its anchors and streamer info are."""
        known = self._sink.streamers
        mine = {info.key: info for info in known.classes} | self._classes
        self._sink.streamers = Streamers(
            tuple(mine.values()), tuple(dict.fromkeys([*known.rules, *self._rules]))
        )
        for merged in self._merged.values():
            self._finish(merged)

    def check(self, path: Path, seen: Callable[[Sequence[NDArray[Any]]], None] | None = None) -> Checksums:
        """Read the finished output as an input is read, hold it against what was copied, return its checksums.

        `seen` is told what tells its events apart.

        Raises
        ------
        ClosureError
            If it is not what was to be written.
        """
        try:
            with Input(path) as source:
                found = [(name, self._read(source, name)) for name in self._merged]
                written = self._pages(source, found, everything=False)
                pages, prover = written.pages, written.prover
                checked = check_pages(
                    source.image, pages, sealed=self._sealed, passage=self._passage, prover=prover
                )
        except (InputError, KeyError) as error:
            raise ClosureError(f"what was written is not sound: {error}", where=str(path)) from error
        for (name, one), mine in zip(found, written.lists, strict=True):
            into = self._merged[name]
            marks = [checked.marks[pages.numbers(part)] for part in mine]
            same = (
                one.schema == into.schema.schema
                and one.entries == into.entries
                and one.known == into.schema.known
            )
            if not same or not _same(mine, into.lists) or not _same_marks(marks, into.marks):
                raise ClosureError(
                    "its fields don't have the pages of the inputs, in their order", where=one.where
                )
        if seen is not None and prover is not None:
            seen(prover.columns)
        return checked.sums

    def _pages(self, source: Input, found: list[tuple[str, NTuple]], *, everything: bool) -> _Prepared:
        """Find all pages of a file, and what looks into them, if anything has to."""
        lists = [[one.pages(group) for group in one.footer.groups] for _, one in found]
        together = [(part, one.schema) for (_, one), mine in zip(found, lists, strict=True) for part in mine]
        pages = Pages.of(together, source.image)
        if not everything and self._identity is None:
            return _Prepared(source, found, lists, pages, None)
        prover = PageProver(pages, together, source.image, everything=everything)
        for (path, one), mine in zip(found, lists, strict=True):
            if self._identity is not None and path == self._identity[0]:
                prover.identify(mine, one.schema, self._identity[1])
        return _Prepared(source, found, lists, pages, prover)

    def _read(self, source: Input, path: str) -> NTuple:
        known = self._merged.get(path)
        return read_ntuple(source.image, source.ntuples[path], known.first if known else None)

    def _find(self, path: str, one: NTuple, source: Input) -> _Merged:
        """Return the RNTuple of the output that an input's goes into; the first one brings the header."""
        if path not in self._merged:
            schema = MergedSchema(one)
            title = source.ntuples[path].key.title.decode("utf-8", "surrogateescape")
            compression = Compression.of_word(source.skeleton.header.compression)
            out = NTupleOutput(self._sink, path, title, one, compression)
            self._merged[path] = _Merged(out, schema, one)
        return self._merged[path]

    def _finish(self, merged: _Merged) -> None:
        schema = merged.schema.schema
        layout = Layout.of(schema, merged.first.where)
        zeros = partial(self._page_of_zeros, out=merged.out)
        rearranger = Rearranger(schema, layout, zeros, merged.out.compression.word)
        for part in merged.parts:
            mapping = np.full(len(schema.columns), -1, np.int64)
            mapping[: len(part.mapping)] = part.mapping
            rearranger.begin()
            for pages, marks in zip(part.lists, part.marks, strict=True):
                made = rearranger.add(pages, mapping, part.late, part.where)
                by_place = (
                    dict(zip(pages.offsets.tolist(), marks.tolist(), strict=True)) | self._marks_of_zeros
                )
                merged.lists.append(made)
                merged.marks.append(np.array([by_place[at] for at in made.offsets.tolist()], np.uint64))
                merged.out.group(made)
        merged.out.finish(merged.schema)

    def _page_of_zeros(self, length: int, out: NTupleOutput) -> tuple[int, int]:
        """Return position and packed size of a page of zeros; there is one of each length."""
        from xxhash import xxh3_64_intdigest

        name = str(out.compression), length
        if name not in self._zeros:
            packed = pack(bytes(length), out.compression)
            mark = xxh3_64_intdigest(packed)
            place = out.put(packed, mark.to_bytes(CHECKSUM, "little"))
            self._zeros[name] = place, len(packed)
            self._marks_of_zeros[place] = mark
        return self._zeros[name]


def _refuse_unknown(one: NTuple, lists: list[PageList]) -> None:
    if any(pages.unknown for pages in lists):
        raise UnsupportedContent("its lists of pages hold what is not known here", where=one.where)
    largest = max((int(pages.sizes.max(initial=0)) for pages in lists), default=0) + CHECKSUM
    if largest > (one.anchor.largest or LARGEST_KEY) or largest > LARGEST_KEY:
        raise UnsupportedContent(
            f"a page of {largest} bytes is larger than a key may be, and lies there in parts", where=one.where
        )


def _same(mine: list[PageList], wanted: list[PageList]) -> bool:
    return len(mine) == len(wanted) and all(map(PageList.same, mine, wanted))


def _same_marks(mine: list[NDArray[np.uint64]], wanted: list[NDArray[np.uint64]]) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(mine, wanted, strict=True))
