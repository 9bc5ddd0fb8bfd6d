"""Small files to read, split and merge, and what is in them, as plain numpy and Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.columns import Branch, Column
from grid.rootio.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

PATHS = ("HLT_Ele32_v1", "HLT_IsoMu24_v2", "HLT_Jet80_v3")


def flat(name: str, kind: str, title: str = "") -> Branch:
    return Branch(name, title or name, np.dtype(kind))


def counted(name: str, kind: str, counter: str) -> Branch:
    return Branch(name, name, np.dtype(kind), jagged=1, counter=counter)


def jagged(lists: Sequence[Sequence[Any]], kind: str) -> Column:
    offsets = np.cumsum([0, *map(len, lists)], dtype=np.int64)
    return Column(np.asarray([x for one in lists for x in one], np.dtype(kind)), (offsets,))


@dataclass
class Table:
    """A tree: its branches and columns."""

    branches: list[Branch] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)

    def add(self, branch: Branch, values: Any) -> Table:
        self.branches.append(branch)
        if not isinstance(values, Column):
            values = Column(np.asarray(values, branch.dtype))
        self.columns[branch.name] = values
        return self

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, index: Any) -> Table:
        picked = np.asarray(index, np.int64)
        return Table(self.branches, {name: column.take(picked) for name, column in self.columns.items()})


def events(n: int, seed: int = 1, *, run: int = 1, first: int = 0) -> Table:
    """Events as NanoAOD has them: identity, a collection with its counter, trigger bits."""
    draw = np.random.default_rng(seed)
    counts = draw.integers(0, 4, n)
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    total = int(offsets[-1])
    table = Table()
    table.add(flat("run", "u4"), np.full(n, run))
    table.add(flat("luminosityBlock", "u4"), 1 + np.arange(first, first + n) // 10)
    table.add(flat("event", "u8", "event number"), np.arange(first, first + n))
    table.add(flat("nMuon", "u4", "slimmedMuons after basic selection"), counts)
    table.add(counted("Muon_pt", "f4", "nMuon"), Column(draw.exponential(20, total).astype("f4"), (offsets,)))
    table.add(
        counted("Muon_charge", "i4", "nMuon"), Column(draw.choice([-1, 1], total).astype("i4"), (offsets,))
    )
    table.add(flat("MET_pt", "f4"), draw.exponential(30, n))
    for path, rate in zip(PATHS, (0.5, 0.3, 0.1), strict=True):
        table.add(flat(path, "?"), draw.random(n) < rate)
    return table


def sections(table: Table) -> Table:
    """The run sections that events have."""
    found = sorted(
        set(zip(*(table.columns[n].values.tolist() for n in ("run", "luminosityBlock")), strict=True))
    )
    made = Table()
    made.add(flat("run", "u4"), [run for run, _ in found])
    return made.add(flat("luminosityBlock", "u4"), [section for _, section in found])


def runs(run: int, weight: float) -> Table:
    return Table().add(flat("run", "u4"), [run]).add(flat("genEventSumw", "f8"), [weight])


def write(
    path: Path,
    trees: Mapping[str, Table],
    *,
    compression: str = "zlib:1",
    record: dict[str, Any] | None = None,
    cluster_bytes: int = 16 << 20,
) -> Path:
    with Sink(path, compression=compression, record=record) as sink:
        for name, table in trees.items():
            tree = sink.tree(name, table.branches, title=f"{name} tree", cluster_bytes=cluster_bytes)
            tree.extend(table.columns)
    return path


def nano(path: Path, n: int = 100, seed: int = 1, *, run: int = 1, first: int = 0, **how: Any) -> Table:
    """Write a NanoAOD-like file with Runs and LuminosityBlocks; return its events."""
    table = events(n, seed, run=run, first=first)
    trees = {"Events": table, "Runs": runs(run, float(seed)), "LuminosityBlocks": sections(table)}
    write(path, trees, **how)
    return table


def as_lists(table: Table) -> dict[str, list[Any]]:
    return {name: column.to_awkward().to_list() for name, column in table.columns.items()}


def read_lists(path: Path, tree: str = "Events") -> dict[str, list[Any]]:
    """What uproot reads, as plain Python."""
    import uproot

    with uproot.open(path) as file:
        return {name: array.to_list() for name, array in file[tree].arrays(library="ak", how=dict).items()}
