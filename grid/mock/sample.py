"""A small NanoAOD-like sample with trigger bits: dimuons over jets, a menu with overlaps, two side trees.

The physics is a toy, and says so: a Z peak (91.2 GeV, natural width 2.5 GeV, smeared) on a falling continuum,
jets with a falling spectrum, and trigger decisions that are cuts on the generated objects with a turn-on. Equal
arguments give equal bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.columns import Branch, Column
from grid.rootio.sink import Sink

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["MENU", "SampleFile", "make_sample"]

#: The menu of the mock experiment: path, the collection it looks at, and its threshold in GeV.
MENU = {
    "HLT_Mu17_v3": ("Muon", 17.0),
    "HLT_IsoMu24_v5": ("Muon", 24.0),
    "HLT_Mu50_v1": ("Muon", 50.0),
    "HLT_DoubleMu8_v2": ("DoubleMuon", 8.0),
    "HLT_PFJet80_v4": ("Jet", 80.0),
    "HLT_PFJet140_v4": ("Jet", 140.0),
    "HLT_PFJet320_v2": ("Jet", 320.0),
    "HLT_PFMET120_v6": ("MET", 120.0),
    "HLT_ZeroBias_v2": ("None", 0.01),
}

_FIRST_RUN = 300_001


@dataclass(frozen=True, slots=True)
class SampleFile:
    """A file that was made, and the truth about it."""

    path: Path
    events: int
    fired: dict[str, int]


def make_sample(
    folder: Path, *, files: int = 4, events: int = 5_000, seed: int = 1, compression: str = "zstd:3"
) -> list[SampleFile]:
    """Write `files` files of `events` events each, every file with run sections of its own.

    Parameters
    ----------
    folder
        Where ``sample_0000.root`` and so on are written; files that exist are refused.
    files, events
        How many files, and how many events in each.
    seed
        Equal seeds give equal bytes.
    compression
        As :class:`grid.rootio.sink.Sink` takes it.

    Returns
    -------
    list of SampleFile
        With the number of events in which each path fired.
    """
    folder.mkdir(parents=True, exist_ok=True)
    return [_file(folder / f"sample_{i:04}.root", i, events, seed, compression) for i in range(files)]


def _file(path: Path, number: int, events: int, seed: int, compression: str) -> SampleFile:
    rng = np.random.default_rng([seed, number])
    columns, titles = _events(rng, number, events)
    sections = np.unique(columns["luminosityBlock"].values)
    branches = [_branch(name, column, titles.get(name, "")) for name, column in columns.items()]
    with Sink(path, compression=compression, seed=f"sample {seed} {number}".encode()) as sink:
        sink.tree("Events", branches, title="Events").extend(columns)
        run = np.full(1, _FIRST_RUN + number, np.uint32)
        _side(sink, "Runs", {"run": run, "genEventCount": np.full(1, events, np.int64)})
        _side(
            sink,
            "LuminosityBlocks",
            {"run": np.full(len(sections), run[0], np.uint32), "luminosityBlock": sections},
        )
    return SampleFile(path, events, {name: int(columns[name].values.sum()) for name in MENU})


def _side(sink: Sink, name: str, arrays: dict[str, NDArray[Any]]) -> None:
    columns = {key: Column(values) for key, values in arrays.items()}
    sink.tree(name, [_branch(key, column, key) for key, column in columns.items()], title=name).extend(
        columns
    )


def _events(rng: np.random.Generator, number: int, events: int) -> tuple[dict[str, Column], dict[str, str]]:
    is_z = rng.random(events) < 0.3
    muons = np.where(is_z, 2, rng.poisson(0.8, events)).astype(np.uint32)
    muon = _muons(rng, muons, is_z)
    jets = rng.poisson(3.0, events).astype(np.uint32)
    jet_pt = (20.0 + rng.pareto(3.0, int(jets.sum())) * 40.0).astype(np.float32)
    met = rng.exponential(30.0, events).astype(np.float32)
    columns = {
        "run": Column(np.full(events, _FIRST_RUN + number, np.uint32)),
        "luminosityBlock": Column((1 + np.arange(events) * 5 // max(events, 1)).astype(np.uint32)),
        "event": Column(rng.permutation(events).astype(np.uint64) + 1),
        "nMuon": Column(muons),
        **{f"Muon_{name}": _jagged(muons, values) for name, values in muon.items()},
        "nJet": Column(jets),
        "Jet_pt": _jagged(jets, jet_pt),
        "Jet_eta": _jagged(jets, rng.uniform(-4.7, 4.7, len(jet_pt)).astype(np.float32)),
        "MET_pt": Column(met),
    }
    leading = {
        "Muon": _nth_largest(muons, muon["pt"], 1),
        "DoubleMuon": _nth_largest(muons, muon["pt"], 2),
        "Jet": _nth_largest(jets, jet_pt, 1),
        "MET": met,
    }
    for name, (what, cut) in MENU.items():
        chance = np.full(events, cut) if what == "None" else _turn_on(leading[what], cut)
        columns[name] = Column(rng.random(events) < chance)
    titles = {
        "nMuon": "number of muons",
        "Muon_pt": "transverse momentum (GeV)",
        "Jet_pt": "transverse momentum (GeV)",
    }
    return columns, titles | {name: f"Trigger/flag bit (mock): {name}" for name in MENU}


def _muons(
    rng: np.random.Generator, counts: NDArray[np.uint32], is_z: NDArray[np.bool_]
) -> dict[str, NDArray[Any]]:
    total = int(counts.sum())
    pt = (3.0 + rng.exponential(12.0, total)).astype(np.float64)
    eta = rng.uniform(-2.4, 2.4, total)
    phi = rng.uniform(-np.pi, np.pi, total)
    first = (np.cumsum(counts) - counts)[is_z].astype(np.int64)
    width = 1.25 * np.tan(
        rng.uniform(-1, 1, len(first)) * np.arctan(20)
    )  # a Cauchy distribution, cut at 20 half widths
    mass = 91.2 + width + rng.normal(0, 1.5, len(first))
    phi[first + 1] = phi[first] + np.pi + rng.normal(0, 0.1, len(first))
    angle = np.cosh(eta[first] - eta[first + 1]) - np.cos(phi[first] - phi[first + 1])
    pt[first] = pt[first + 1] = mass / np.sqrt(2 * angle)  # m² = 2 pt1 pt2 (cosh Δη - cos Δφ)
    charge = rng.choice(np.array([-1, 1], np.int32), total)
    charge[first + 1] = -charge[first]
    return {
        "pt": pt.astype(np.float32),
        "eta": eta.astype(np.float32),
        "phi": ((phi + np.pi) % (2 * np.pi) - np.pi).astype(np.float32),
        "charge": charge,
    }


def _nth_largest(counts: NDArray[np.uint32], values: NDArray[Any], n: int) -> NDArray[np.float32]:
    owner = np.repeat(np.arange(len(counts)), counts)
    order = np.lexsort((-values, owner))
    start = (np.cumsum(counts) - counts).astype(np.int64)
    answer = np.zeros(len(counts), np.float32)
    enough = counts >= n
    answer[enough] = values[order][start[enough] + n - 1]
    return answer


def _turn_on(value: NDArray[Any], cut: float) -> NDArray[np.float64]:
    return np.asarray(0.98 / (1.0 + np.exp((cut - value) / (0.05 * cut))), np.float64)


def _jagged(counts: NDArray[np.uint32], values: NDArray[Any]) -> Column:
    return Column(values, (np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64),))


def _branch(name: str, column: Column, title: str) -> Branch:
    counter = f"n{name.partition('_')[0]}" if column.offsets else None
    return Branch(name, title or name, column.values.dtype, jagged=len(column.offsets), counter=counter)
