"""Faults between reading and writing, and after writing: each must be refused, by the name of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

import grid.rootio.merge as merging
import grid.rootio.split as splitting
from grid.rootio import gathersplit, valuemerge
from grid.rootio.columns import Column
from grid.rootio.outfile import OutFile
from grid.rootio.sink import Sink
from grid.rootio.verbatim.tree import MergedTree
from grid.trigger import TriggerTable
from sitecfg.errors import ClosureError
from tests.grid.rootio.making import nano

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from grid.rootio.columns import Branch
    from grid.rootio.sink import SinkTree

Columns = dict[str, Column]


def some(columns: Mapping[str, Column], index: list[int]) -> Columns:
    return {name: column.take(np.asarray(index, np.int64)) for name, column in columns.items()}


def remove(columns: Columns) -> Columns:
    n = len(columns["run"])
    return some(columns, [i for i in range(n) if i != n // 2])


def double(columns: Columns) -> Columns:
    n = len(columns["run"])
    return some(columns, sorted([*range(n), n // 2]))


def replace_one(columns: Columns) -> Columns:
    n = len(columns["run"])
    return some(columns, [i if i != n // 2 else 0 for i in range(n)])


def swap(columns: Columns) -> Columns:
    n = len(columns["run"])
    return some(columns, [1, 0, *range(2, n)])


def change(columns: Columns) -> Columns:
    values = columns["MET_pt"].values.copy()
    values[len(values) // 2] += 0.5
    return {**columns, "MET_pt": Column(values)}


def exchange_values(columns: Columns) -> Columns:
    """Give one value of an event to another: all sums over columns stay the same."""
    values = columns["MET_pt"].values.copy()
    values[[0, 1]] = values[[1, 0]]
    return {**columns, "MET_pt": Column(values)}


def move_in_list(columns: Columns) -> Columns:
    """Let one event have a muon of its neighbour; the values, one behind the other, stay the same."""
    counts = columns["Muon_pt"].counts.copy()
    first = int(np.flatnonzero(counts)[0])
    other = first + 1 if first + 1 < len(counts) else first - 1
    counts[first] -= 1
    counts[other] += 1
    offsets = np.concatenate([[0], np.cumsum(counts)])
    moved = {name: Column(columns[name].values, (offsets,)) for name in ("Muon_pt", "Muon_charge")}
    return {**columns, **moved, "nMuon": Column(counts.astype(np.uint32))}


def nothing(columns: Columns) -> Columns:
    return some(columns, [])


def flip_identity(columns: Columns) -> Columns:
    values = columns["event"].values.copy()
    values[0] ^= np.uint64(1 << 40)
    return {**columns, "event": Column(values)}


FAULTS = [remove, double, replace_one, swap, change, exchange_values, move_in_list, nothing, flip_identity]


def faulty(fault: Callable[[Columns], Columns], tree: str) -> type[Sink]:
    """Return a sink that does a wrong thing once: to the first part of a tree that has events."""
    done: list[str] = []

    class Faulty(Sink):
        def tree(self, path: str, branches: Any, **how: Any) -> SinkTree:
            made = super().tree(path, branches, **how)
            if path == tree:
                _spoil(made, fault, done)
            return made

    return Faulty


def _spoil(tree: SinkTree, fault: Callable[[Columns], Columns], done: list[str]) -> None:
    right = tree.extend

    def extend(columns: Mapping[str, Column]) -> None:
        if not done and len(columns["run"]) > 3:
            done.append("once")
            columns = fault(dict(columns))
        right(columns)

    tree.extend = extend  # type: ignore[method-assign]


#: A rule that changes nothing, but has to be looked at: then events are read as values.
VALUES = ("keep *",)
TABLE = TriggerTable(name="T", tag=1, streams={"ele": ("HLT_Ele*",), "mu": ("HLT_IsoMu*",)})


@pytest.mark.parametrize("fault", FAULTS)
def test_a_split_refuses_what_went_wrong_in_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Columns], Columns]
) -> None:
    nano(tmp_path / "in.root", 100)
    monkeypatch.setattr(splitting, "Sink", faulty(fault, "Events"))
    outs = {stream: tmp_path / f"{stream}.root" for stream in TABLE.streams}
    with pytest.raises(ClosureError) as caught:
        splitting.split(
            tmp_path / "in.root", outs, splitting.SplitRecipe(table=TABLE, memory_bytes=2000, keep=VALUES)
        )
    assert "ele.root" in caught.value.where
    assert [path.name for path in tmp_path.iterdir()] == ["in.root"], "nothing wrong is left behind"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_merge_refuses_what_went_wrong_in_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Columns], Columns]
) -> None:
    for name, first in (("a", 0), ("b", 100)):
        nano(tmp_path / f"{name}.root", 100, first=first)
    monkeypatch.setattr(valuemerge, "Sink", faulty(fault, "Events"))
    unpacking = merging.MergeOptions(compression="zlib:1")
    with pytest.raises(ClosureError) as caught:
        merging.merge([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root", unpacking)
    assert "out.root" in caught.value.where
    assert not (tmp_path / "out.root").exists()


Lie = NDArray[Any]
"""Branch, size, first entry and position of each basket of an input, by name."""
PLACES = ["nbytes", "seek"]


def exchange_inputs(parts: list[Lie], branch: int) -> None:
    """Take a branch's basket of one input for that of another."""
    first, second = (part["branch"] == branch for part in parts)
    for name in PLACES:
        kept = parts[0][name][first]
        parts[0][name][first] = parts[1][name][second]
        parts[1][name][second] = kept


def exchange_branches(parts: list[Lie], branch: int) -> None:
    """Take a basket of the next branch for that of a branch."""
    mine, other = parts[0]["branch"] == branch, parts[0]["branch"] == branch + 1
    for name in PLACES:
        kept = parts[0][name][mine]
        parts[0][name][mine] = parts[0][name][other]
        parts[0][name][other] = kept


def lose_a_basket(parts: list[Lie], branch: int) -> None:
    parts[1] = parts[1][parts[1]["branch"] != branch]


@pytest.mark.parametrize("verify", ["copied", "sealed", "proven"])
@pytest.mark.parametrize("fault", [exchange_inputs, exchange_branches, lose_a_basket])
def test_a_merge_refuses_what_went_wrong_in_copying(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[list[Lie], int], None], verify: str
) -> None:
    for name, first in (("a", 0), ("b", 100)):
        nano(tmp_path / f"{name}.root", 100, seed=first, first=first)
    right = MergedTree.body

    def body(self: MergedTree, key_length: int) -> bytearray:
        names = [branch.name for branch in self.template.branches]
        kept, self._baskets = self._baskets, [part.copy() for part in self._baskets]
        fault(self._baskets, names.index(b"MET_pt"))
        try:
            return right(self, key_length)
        finally:
            self._baskets = kept

    monkeypatch.setattr(MergedTree, "body", body)
    with pytest.raises(ClosureError) as caught:
        merging.merge(
            [tmp_path / "a.root", tmp_path / "b.root"],
            tmp_path / "out.root",
            merging.MergeOptions(verify=verify),
        )
    assert "out.root" in caught.value.where
    assert not (tmp_path / "out.root").exists()


def test_a_copy_that_reads_back_differently_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = OutFile.put

    def put(self: OutFile, data: memoryview, place: int) -> None:
        right(self, memoryview(bytes(len(data))), place)

    nano(tmp_path / "in.root", 100)
    monkeypatch.setattr(OutFile, "put", put)
    with pytest.raises(ClosureError, match=r"is not sound: .*out\.root"):
        merging.merge([tmp_path / "in.root"], tmp_path / "out.root", merging.MergeOptions(verify="copied"))
    assert not (tmp_path / "out.root").exists()


@pytest.mark.parametrize("fault", [remove, double, swap])
def test_rows_of_other_trees_are_proven_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[Columns], Columns]
) -> None:
    nano(tmp_path / "in.root", 100)
    monkeypatch.setattr(splitting, "Sink", faulty(fault, "LuminosityBlocks"))
    with pytest.raises(ClosureError) as caught:
        splitting.split(
            tmp_path / "in.root", {"all": tmp_path / "all.root"}, splitting.SplitRecipe(keep=VALUES)
        )
    assert caught.value.where == f"{tmp_path / 'all.root'}: LuminosityBlocks"


def test_a_branch_that_is_not_written_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(Sink):
        def tree(self, path: str, branches: Any, **how: Any) -> SinkTree:
            kept: list[Branch] = [branch for branch in branches if branch.name != "MET_pt"]
            made = super().tree(path, kept, **how)
            right = made.extend
            made.extend = lambda columns: right({b.name: columns[b.name] for b in kept})  # type: ignore[method-assign]
            return made

    nano(tmp_path / "in.root", 100)
    monkeypatch.setattr(splitting, "Sink", Forgetful)
    with pytest.raises(ClosureError, match="not what they should be: MET_pt"):
        splitting.split(
            tmp_path / "in.root", {"all": tmp_path / "all.root"}, splitting.SplitRecipe(keep=VALUES)
        )


def test_a_forgotten_record_is_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetful(Sink):
        def __init__(self, path: Path, **how: Any) -> None:
            super().__init__(path, **{**how, "record": None})

    nano(tmp_path / "in.root", 10)
    monkeypatch.setattr(splitting, "Sink", Forgetful)
    with pytest.raises(ClosureError, match="record"):
        splitting.split(
            tmp_path / "in.root", {"all": tmp_path / "all.root"}, splitting.SplitRecipe(keep=VALUES)
        )


@pytest.mark.parametrize("keep", [VALUES, ()], ids=["values", "bytes"])
@pytest.mark.parametrize("where", [0.02, 0.2, 0.4, 0.6])
def test_bytes_that_change_on_the_disk_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: float, keep: tuple[str, ...]
) -> None:
    class Rotten(Sink):
        def rot(self) -> None:
            data = bytearray(self.path.read_bytes())
            data[int(where * len(data))] ^= 0x40
            self.path.write_bytes(data)

        def close(self, *how: Any) -> Any:
            if how:
                (read_back,) = how

                def rotten(path: Path) -> Any:
                    self.rot()
                    return read_back(path)

                return super().close(rotten)
            fresh = self.written is None
            written = super().close()
            if fresh and keep:
                self.rot()
            return written

    nano(tmp_path / "in.root", 3000)
    monkeypatch.setattr(splitting if keep else gathersplit, "Sink", Rotten)
    how = splitting.SplitRecipe(compression="none", keep=keep)
    with pytest.raises(ClosureError, match=r"all\.root"):
        splitting.split(tmp_path / "in.root", {"all": tmp_path / "all.root"}, how)
    assert not (tmp_path / "all.root").exists()
