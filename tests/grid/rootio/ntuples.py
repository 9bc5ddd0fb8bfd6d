"""RNTuples to merge: what ROOT and uproot wrote, and how what comes out is compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import uproot

from grid.rootio.merge import MergeOptions, merge

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grid.rootio.merging import MergeReport

MAKER = Path(__file__).with_name("ntuple_maker.py")
REAL = ["nano_dy_rntuple.root", "Run2012BC_DoubleMuParked_Muons_rntuple_1000evts.root"]
DEPTHS = ["copied", "sealed", "proven"]


def merged(sources: Sequence[Path], out: Path, depth: str = "sealed", **how: Any) -> MergeReport:
    return merge(sources, out, MergeOptions(verify=depth, **how))


def arrays(path: Path, names: Sequence[str] | None = None, tree: str = "Events") -> dict[str, ak.Array]:
    with uproot.open(path) as file:
        return {name: file[tree][name].array() for name in names or file[tree].keys(recursive=False)}


def joined(paths: Sequence[Path], names: Sequence[str] | None = None) -> dict[str, ak.Array]:
    parts = [arrays(path, names) for path in paths]
    return {name: ak.concatenate([part[name] for part in parts]) for name in parts[0]}


def same(found: dict[str, ak.Array], wanted: dict[str, ak.Array]) -> None:
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert ak.array_equal(found[name], array, equal_nan=True, dtype_exact=False), name
