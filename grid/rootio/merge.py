"""Merge files of one schema into one: all events in the order of the inputs, each value unchanged.

Baskets and pages are copied as they are wherever the descriptions allow it, else unpacked and packed again. Inputs are
read one after the other in chunks of bounded size. What was written is then read again, from the file, and held
against what was read.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from grid.rootio.merging import CantCopy, MergeInput, MergeOptions, MergeReport, check_options
from grid.rootio.verbatim.inputs import Input
from sitecfg.errors import UnsupportedContent, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

__all__ = ["MergeInput", "MergeOptions", "MergeReport", "merge"]


def merge(
    sources: Sequence[Path | str],
    out: Path,
    options: MergeOptions | None = None,
    *,
    known: Sequence[Mapping[str, Any]] = (),
    record: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MergeReport:
    """Merge files into a new one.

    Blocks until the output is written, durable, read again and proven. On any error there is no output.

    Parameters
    ----------
    sources
        Local files, at least one; their order is the order of the events.
    out
        The new file.
    options
        How; see :class:`grid.rootio.merging.MergeOptions`.
    known
        What the catalog knows of each input, in their order: ``bytes``, ``adler32`` and ``xxh3`` (None: not known). The
        checksums of what is read anyway are held against it.
    record
        Provenance to store in the output, beside what is found here.
    progress
        Called with (done, in all): bytes of the inputs. Where baskets can't be copied, thousandths of an input; the
        proof then counts as one more.

    Raises
    ------
    InputError
        If an input is not what it should be; it is named.
    SchemaMismatch
        If inputs differ in branches, types or trigger paths; the differences are named.
    DuplicateEvents
        If an event occurs twice and `options` refuses that.
    OutputExists, NoSpace, OutputError
        If the output can't be written.
    ClosureError
        If what was written isn't what was read; the file is named.
    """
    if not sources:
        raise UsageError("there is nothing to merge", todo="name at least one file")
    paths, options = [Path(source) for source in sources], options or MergeOptions()
    check_options(options)
    with Input(paths[0]) as first:
        trees, ntuples, objects = bool(first.trees), bool(first.ntuples), bool(first.objects)
    if objects and not trees and not ntuples:
        from grid.rootio.objectmerge import merge_objects

        return merge_objects(paths, known, out, options, record or {})
    hindrance = ""
    if options.compression is None and options.format is None:
        for way in _copying(trees=trees, ntuples=ntuples):
            try:
                return way(paths, known, out, options, progress).run(record or {})
            except CantCopy as error:
                # then it is unpacked; if that can't be done either, both reasons are told
                hindrance = hindrance or getattr(error.__cause__, "what", "")
    from grid.rootio.valuemerge import ValueMerge

    try:
        return ValueMerge(paths, known, out, options, progress, copying=False).run(record or {})
    except UnsupportedContent as error:
        if hindrance:
            error.what += f"; and it can't be copied as it is: {hindrance}"
        raise


def _copying(*, trees: bool, ntuples: bool) -> Iterator[Callable[..., _Way]]:
    """Yield the ways that copy, the quickest first; what a merge does not need is not loaded."""
    if ntuples:
        from grid.rootio.ntuplemerge import NTupleMerge

        yield NTupleMerge
    if trees:
        from grid.rootio.treemerge import TreeMerge

        yield TreeMerge
    from grid.rootio.valuemerge import ValueMerge

    yield partial(ValueMerge, copying=True)


class _Way(Protocol):
    """A merge that is about to be done."""

    def run(self, given: Mapping[str, Any]) -> MergeReport:
        """Do it."""
