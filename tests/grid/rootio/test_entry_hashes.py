"""RNTuples whose events have no identity are told apart by all that they hold, read from their pages."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import uproot

from grid.rootio.gather import fields
from sitecfg.errors import SchemaMismatch
from tests.grid.rootio.ntuples import merged

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

N = 200


def events() -> dict[str, Any]:
    counts = np.arange(N) % 4
    inner = np.arange(counts.sum()) % 3
    return {
        "x": np.arange(N) * 0.5,
        "flag": np.arange(N) % 2 == 0,
        "pt": ak.unflatten(np.arange(counts.sum(), dtype="f4"), counts),
        "deep": ak.unflatten(ak.unflatten(np.arange(inner.sum(), dtype="i2"), inner), counts),
        "text": ak.Array(["t" * (i % 5) for i in range(N)]),
    }


def write(path: Path, fields: Mapping[str, Any], *edges: int, tree: str = "T") -> Path:
    """Write an RNTuple with clusters that end at some entries."""
    with uproot.update(path) if path.exists() else uproot.recreate(path) as file:
        ends = [*edges, len(fields["x"])]
        made = file.mkrntuple(tree, {name: values[: ends[0]] for name, values in fields.items()})
        for low, high in pairwise(ends):
            made.extend({name: values[low:high] for name, values in fields.items()})
    return path


@pytest.mark.parametrize("section", [1 << 24, 400])
def test_events_are_found_again_however_their_clusters_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: int
) -> None:
    monkeypatch.setattr(fields, "_SECTION", section)
    told = events()
    a = write(tmp_path / "a.root", told)
    b = write(tmp_path / "b.root", {name: values[50:] for name, values in told.items()}, 1, 70, 71)
    report = merged([a, b], tmp_path / "out.root", "proven")
    assert report.duplicates.events == N - 50
    assert report.duplicates.by == ()
    assert report.duplicates.first[0] == f"the same values: {a} entry 50 and {b} entry 0"
    assert report.duplicates.files == ((str(a), str(b), N - 50),)
    assert report.output.fingerprint is None
    assert "events have no identity: a hash of each event's bytes was compared" in report.notes
    assert {one.content for one in report.inputs} == {None}  # no value was read


@pytest.mark.parametrize("name", events())
def test_one_value_makes_another_event(tmp_path: Path, name: str) -> None:
    told = events()
    changed = [7, 58, 109, 160]
    other = ak.to_list(told[name])
    for one in changed:
        if name == "flag":
            other[one] = not other[one]
        elif name == "x":
            other[one] += 0.25
        elif name == "pt":
            other[one] = [*other[one], 0.0]
        elif name == "deep":
            other[one] = [*other[one], []]
        else:
            other[one] = other[one] + "\0"
    kind = {"pt": "f4", "deep": "i2"}.get(name)
    array = ak.Array(other) if kind is None else ak.values_astype(ak.Array(other), kind)
    a = write(tmp_path / "a.root", told)
    b = write(tmp_path / "b.root", {**told, name: array}, 60)
    assert merged([a, b], tmp_path / "out.root", "proven").duplicates.events == N - len(changed)


def test_what_two_fields_exchange_makes_another_event(tmp_path: Path) -> None:
    numbers = np.arange(1.0, N + 1)
    a = write(tmp_path / "a.root", {"x": numbers, "y": numbers[::-1]})
    b = write(tmp_path / "b.root", {"x": numbers[::-1], "y": numbers[::-1]})
    assert merged([a, b], tmp_path / "out.root", "proven").duplicates.events == 0


def test_parallel_ntuples_tell_events_apart_together(tmp_path: Path) -> None:
    zero = {"x": np.zeros(N)}
    a = write(write(tmp_path / "a.root", zero), events(), 9, tree="U")
    report = merged([a, a], tmp_path / "out.root", "proven", event_trees=("T", "U"))
    assert report.duplicates.events == N
    other = write(write(tmp_path / "other.root", {"x": np.ones(N)}), events(), tree="U")
    for number, trees in enumerate((("T", "U"), ("U", "T"))):
        report = merged([a, other], tmp_path / f"{number}.root", "proven", event_trees=trees)
        assert report.duplicates.events == 0
    short = write(write(tmp_path / "b.root", {"x": np.zeros(N - 1)}), events(), tree="U")
    with pytest.raises(SchemaMismatch, match="differ in length: T 199, U 200"):
        merged([short], tmp_path / "short.root", "proven", event_trees=("T", "U"))
    with pytest.raises(SchemaMismatch, match="differ in length: T 199, U 200"):
        merged([a, short], tmp_path / "short.root", "proven", event_trees=("T", "U"))
