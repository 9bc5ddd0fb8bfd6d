"""Merge files that hold no tree at all: histograms and other objects alone."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from grid.rootio.checksums import checksum_file, checksums_of
from grid.rootio.duplicates import Duplicates
from grid.rootio.format.blocks import Compression
from grid.rootio.merging import MergeInput, MergeReport, said_by_inputs, same_table
from grid.rootio.objects.objects import Objects
from grid.rootio.output import Output
from grid.rootio.sink import Sink
from grid.rootio.verbatim.inputs import Input
from sitecfg.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from grid.rootio.checksums import Checksums
    from grid.rootio.merging import MergeOptions

__all__ = ["merge_objects"]


def merge_objects(
    sources: Sequence[Path],
    known: Sequence[Mapping[str, Any]],
    out: Path,
    options: MergeOptions,
    record: Mapping[str, Any],
) -> MergeReport:
    """Merge files without trees; raises as :func:`grid.rootio.merge.merge`."""
    objects = Objects(drop=options.on_refused == "drop", everything=options.side == "concat")
    sums = checksums_of(sources, known)
    records: list[dict[str, Any]] = []
    compression = options.compression
    for path in sources:
        with Input(path) as source:
            if trees := [*source.trees, *source.ntuples]:
                raise SchemaMismatch(
                    f"it has the tree {trees[0]}, and {sources[0]} has no tree",
                    where=str(path),
                    todo="merge files with trees and files without apart from each other",
                )
            same_table(records, source.record, str(path), str(sources[0]))
            records.append(source.record)
            objects.add(source)
            compression = compression or str(Compression.of_word(source.skeleton.header.compression))
    inputs = tuple(
        MergeInput(str(path), one.bytes, one.adler32, one.xxh3, 0, None, None)
        for path, one in zip(sources, sums, strict=True)
    )
    found = {
        **said_by_inputs(records),
        "inputs": [{"xxh3": one.xxh3, "events": 0} for one in inputs],
        "dropped": [[path, "", why] for path, why in objects.dropped.items()],
        **objects.record,
        "verified": options.verify,
    }
    seed = json.dumps([one.xxh3 for one in inputs]).encode()

    def read_back(path: Path) -> Checksums:
        objects.check(path)
        return checksum_file(path)

    with Sink(out, compression=compression or "none", seed=seed, record={**record, **found}) as sink:
        objects.put(sink)
        written = sink.close(read_back)
    return MergeReport(
        Output(out, written.bytes, written.adler32, written.xxh3, 0, None, None, (), {}),
        inputs,
        Duplicates(),
        tuple((path, "", why) for path, why in objects.dropped.items()),
        notes=("there is no tree: only objects were merged", *objects.notes),
        verified=options.verify,
    )
