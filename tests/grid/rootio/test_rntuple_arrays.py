"""Arrays of a fixed size in RNTuples become arrays of a fixed size in TTrees."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
import uproot

from grid.rootio.merge import MergeOptions, merge
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.judge,
    pytest.mark.skipif(find_spec("ROOT") is None, reason="ROOT is not installed"),
]

MAKE = r"""
import sys
import ROOT
options = ROOT.RDF.RSnapshotOptions()
options.fOutputFormat = ROOT.RDF.ESnapshotOutputFormat.kRNTuple
frame = ROOT.RDataFrame(300).Define("event", "(ULong64_t)rdfentry_")
frame = frame.Define("p", "std::array<float, 3>{1, 2, (float)rdfentry_}")
frame = frame.Define("m", "std::array<std::array<int, 2>, 3>{{{1, 2}, {(int)rdfentry_, 4}, {5, 6}}}")
frame = frame.Define("b", "std::array<bool, 9>{true, false, true, false, false, false, rdfentry_ % 2 == 1, true, true}")
frame = frame.Define("texts", 'std::array<std::string, 2>{"a", "b"}')
frame = frame.Define("lists", "std::vector<std::array<float, 2>>(2)")
frame.Snapshot("Events", sys.argv[1] + "/in.root", ["event", "p", "m", "b"], options)
for name in ("texts", "lists"):
    frame.Snapshot("Events", f"{sys.argv[1]}/{name}.root", ["event", name], options)
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arrays")
    command = [sys.executable, "-W", "ignore", "-c", MAKE, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_arrays_of_numbers_are_carried(made: Path, tmp_path: Path) -> None:
    merge([made / "in.root"], tmp_path / "out.root", MergeOptions(format="ttree", identity=("event",)))
    with uproot.open(tmp_path / "out.root") as file:
        arrays = file["Events"].arrays(library="np")
    for entry in range(300):
        assert arrays["p"][entry].tolist() == [1, 2, entry]
        assert arrays["m"][entry].tolist() == [[1, 2], [entry, 4], [5, 6]]
        assert arrays["b"][entry].tolist() == [
            True,
            False,
            True,
            False,
            False,
            False,
            entry % 2 == 1,
            True,
            True,
        ]


@pytest.mark.parametrize(
    ("name", "kind"), [("texts", "std::array<std::string,2>"), ("lists", "std::vector<std::array<float,2>>")]
)
def test_arrays_that_no_tree_holds_are_named(made: Path, tmp_path: Path, name: str, kind: str) -> None:
    with pytest.raises(UnsupportedContent) as caught:
        merge(
            [made / f"{name}.root"], tmp_path / "out.root", MergeOptions(format="ttree", identity=("event",))
        )
    assert f"{name} (a field of type {kind} can't be carried)" in caught.value.what


def test_a_page_that_contradicts_its_checksum_is_told(made: Path, tmp_path: Path) -> None:
    path = tmp_path / "in.root"
    data = bytearray((made / "in.root").read_bytes())
    with uproot.open(made / "in.root") as file:
        locator = file["Events"].page_link_list[0][0].pages[0].locator
    data[locator.offset + locator.num_bytes // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match=f"the xxh3 of a page at {locator.offset} does not match") as caught:
        merge([path], tmp_path / "out.root", MergeOptions(format="ttree", identity=("event",)))
    assert caught.value.where == f"{path}: Events/event"
    assert not (tmp_path / "out.root").exists()
