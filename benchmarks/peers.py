"""Others' ways to read a file whole and to split one: ``peers.py WAY CODEC IN [OUT=CUT ...]``, a program of its own.

A cut is a list of trigger bits with ``|`` between them; the codec is how the input is packed, and what comes out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from grid.rootio.format.blocks import Compression

CHUNK = "100 MB"


def main(way: str, codec: str, source: str, *targets: str) -> None:
    outs = dict(target.split("=") for target in targets)
    WAYS[way](source, Compression.parse(codec), outs)


def root() -> Any:
    import warnings

    warnings.simplefilter("ignore")
    import ROOT

    ROOT.gErrorIgnoreLevel = ROOT.kWarning
    return ROOT


def read_all(source: str, _compression: Compression, _outs: dict[str, str]) -> None:
    ROOT = root()  # noqa: N806
    with ROOT.TFile.Open(source) as file:
        if "RNTuple" in file.GetKey("Events").GetClassName():
            reader = ROOT.RNTupleReader.Open("Events", source)
            for entry in range(reader.GetNEntries()):
                reader.LoadEntry(entry)
        else:
            tree = file.Get("Events")
            for entry in range(tree.GetEntries()):
                assert tree.GetEntry(entry) > 0


def copy_tree(source: str, compression: Compression, outs: dict[str, str]) -> None:
    """Go over the input once for each output."""
    ROOT = root()  # noqa: N806
    with ROOT.TFile.Open(source) as file:
        tree = file.Get("Events")
        for out, cut in outs.items():
            with ROOT.TFile.Open(out, "RECREATE", "", compression.word) as target:
                tree.CopyTree(cut.replace("|", "||"))
                target.Write()


def clone_and_fill(source: str, _compression: Compression, outs: dict[str, str]) -> None:
    """Go over the input once for all outputs."""
    ROOT = root()  # noqa: N806
    ROOT.gROOT.LoadMacro(str(Path(__file__).with_name("peers.C")))
    ROOT.peers.cloneAndFill(source, [*outs], [cut.replace("|", "||") for cut in outs.values()])


def snapshot(source: str, compression: Compression, outs: dict[str, str]) -> None:
    ROOT = root()  # noqa: N806
    ROOT.EnableImplicitMT()
    file = ROOT.TFile.Open(source)
    as_ntuple = "RNTuple" in file.GetKey("Events").GetClassName()
    algorithm, level = divmod(compression.word, 100)
    frame = ROOT.RDataFrame("Events", source)
    columns = [str(name) for name in frame.GetColumnNames()]
    results = []
    for out, cut in outs.items():
        options = ROOT.RDF.RSnapshotOptions()
        options.fLazy = True
        options.fCompressionAlgorithm = algorithm
        options.fCompressionLevel = level
        if as_ntuple:
            options.fOutputFormat = ROOT.RDF.ESnapshotOutputFormat.kRNTuple
        results.append(frame.Filter(cut.replace("|", "||")).Snapshot("Events", out, columns, options))
    ROOT.RDF.RunGraphs(results)


def with_uproot(source: str, compression: Compression, outs: dict[str, str]) -> None:
    import awkward as ak
    import numpy as np
    import uproot

    algorithm, level = divmod(compression.word, 100)
    codec = uproot.compression.Compression.from_code_pair(algorithm, level)
    with uproot.open(source) as file:
        tree = file["Events"]
        as_ntuple = not isinstance(tree, uproot.TTree)
        counted = () if as_ntuple else tree.branches
        counters = {branch.count_branch.name for branch in counted if branch.count_branch}
        names = [name for name in tree.keys(recursive=False) if name not in counters]
        files = {out: uproot.recreate(out, compression=codec) for out in outs}
        made: dict[str, Any] = {}
        for chunk in tree.iterate(names, step_size=CHUNK, library="ak", how=dict):
            for out, cut in outs.items():
                chosen = np.any([ak.to_numpy(chunk[name]) for name in cut.split("|")], axis=0)
                part = {name: array[chosen] for name, array in chunk.items()}
                if out in made:
                    made[out].extend(part)
                elif as_ntuple:
                    made[out] = files[out].mkrntuple("Events", part)
                else:
                    made[out] = files[out].mktree(
                        "Events", {name: array.type for name, array in part.items()}
                    )
                    made[out].extend(part)
        for one in files.values():
            one.close()


WAYS = {
    "read all": read_all,
    "CopyTree": copy_tree,
    "CloneTree": clone_and_fill,
    "Snapshot": snapshot,
    "uproot": with_uproot,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
