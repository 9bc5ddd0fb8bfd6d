"""Merging RNTuples by copying their pages: every value where it belongs, nothing wrong let through."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import pytest
import uproot

from grid.rootio.sink import Sink
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verbatim.ntuple_copier import NTupleCopier
from grid.rootio.verify import verify
from sitecfg.errors import MissingIdentity, SchemaMismatch
from tests.grid.rootio.judge import hadd, needs_root, run
from tests.grid.rootio.ntuples import DEPTHS, MAKER, REAL, arrays, joined, merged, same

if TYPE_CHECKING:
    from pathlib import Path

#: At most so many fields are compared, spread over all of them.
COMPARED = 20
#: What uproot takes for something else where a field is encoded in several ways.
MISREAD = ["text", "texts", "pairs"]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", REAL)
def test_real_files_are_merged_value_by_value(real_data: Path, tmp_path: Path, name: str, depth: str) -> None:
    sources = [real_data / name] * 2
    report = merged(sources, tmp_path / "out.root", depth)
    assert report.verified == depth
    assert (report.output.fingerprint is not None) == (depth != "copied" and name == REAL[0])
    found = 40 if name == REAL[0] else 1022 if depth == "proven" else 0
    assert report.duplicates.events == (0 if depth == "copied" else found)
    verify(tmp_path / "out.root")
    if depth == "sealed":
        with uproot.open(real_data / name) as file:
            names = file["Events"].keys(recursive=False)
        names = names[:: len(names) // COMPARED + 1]
        same(arrays(tmp_path / "out.root", names), joined(sources, names))


def test_a_merge_of_merges_is_the_merge(real_data: Path, tmp_path: Path) -> None:
    one = real_data / REAL[1]
    for out in ("two.root", "again.root"):
        merged([one] * 2, tmp_path / out)
    assert (tmp_path / "two.root").read_bytes() == (tmp_path / "again.root").read_bytes()
    merged([tmp_path / "two.root", one], tmp_path / "three.root")
    same(arrays(tmp_path / "three.root"), joined([one] * 3))


# What ROOT writes.


#: What is merged: inputs whose fields are the same, if their order, encoding and packing are not.
ALIKE = {
    "packings": ["plain", "next", "groups", "empty", "zlib", "lzma", "lz4", "none", "unsealed"],
    "hadd_takes": ["plain", "groups", "empty", "zlib", "lzma", "next"],
    "empty_first": ["empty", "plain", "empty"],
    "encodings": ["plain", "unsplit", "plain"],
    "orders": ["unsplit", "reversed", "next"],
    "late": ["late", "later", "late0", "late"],
    "odd": ["odd", "odd"],
}


@pytest.mark.slow
@pytest.mark.judge
@needs_root
def test_root_reads_what_it_wrote_and_hadd_takes_it(of_root: Path, tmp_path: Path) -> None:
    for name, sources in ALIKE.items():
        merged([of_root / f"{source}.root" for source in sources], of_root / f"{name}.merged.root")
        verify(of_root / f"{name}.merged.root")
    merged([of_root / "encodings.merged.root", of_root / "orders.merged.root"], of_root / "again.merged.root")
    merged(
        [of_root / f"{name}.root" for name in ("plain", "late", "empty", "plain")],
        of_root / "zeros.merged.root",
    )
    merged([of_root / f"{name}.root" for name in ("later", "plain")], of_root / "zeros2.merged.root")
    # ROOT's own tool can take neither pages without checksums nor fields that are encoded in several ways
    hadd(
        "-ff",
        of_root / "hadd.merged.root",
        of_root / "hadd_takes.merged.root",
        of_root / "empty_first.merged.root",
    )
    names = [path.name for path in sorted(of_root.glob("*.root"))]
    run([sys.executable, "-W", "ignore", str(MAKER), "--show", str(of_root), *names])

    def shown(name: str) -> str:
        return (of_root / f"{name}.root.shown").read_text()

    for name, sources in ALIKE.items():
        assert shown(f"{name}.merged") == "".join(map(shown, sources)), name
    assert shown("plain").count('"event"') == 300
    wanted = "".join(map(shown, ALIKE["encodings"] + ALIKE["orders"]))
    assert shown("again.merged") == wanted
    assert shown("hadd.merged") == shown("hadd_takes.merged") + shown("empty_first.merged")
    zeros = 'false"added": 0"added_list": []"added_pair": [0, 0]'
    assert (
        shown("zeros.merged").count(zeros) + shown("zeros.merged").count(zeros.replace("false", "true"))
        == 730
    )
    assert shown("zeros2.merged").startswith(shown("later"))


@pytest.mark.judge
@needs_root
@pytest.mark.parametrize("depth", ["copied", pytest.param("proven", marks=pytest.mark.slow)])
def test_uproot_reads_what_root_wrote(of_root: Path, tmp_path: Path, depth: str) -> None:
    names = [
        "event",
        "px",
        "HLT_any",
        "text",
        "list",
        "nested",
        "texts",
        "array",
        "pair",
        "pairs",
        "maybe",
        "nlist",
    ]
    for name, sources in ALIKE.items():
        out = tmp_path / f"{name}.root"
        paths = [of_root / f"{source}.root" for source in sources]
        report = merged(paths, out, depth, identity=("event",))
        assert report.output.events == sum(part.events for part in report.inputs)
        good = [name for name in names if name not in MISREAD or "none" not in sources]
        same(arrays(out, good), joined(paths, good))


@pytest.mark.judge
@needs_root
def test_fields_that_differ_are_all_named(of_root: Path, tmp_path: Path) -> None:
    for first, second, words in (
        ("plain", "new", "more is new"),
        ("new", "plain", "more is missing"),
        ("typed", "retyped", "changed is std::int32_t, not std::int64_t"),
        ("typed", "new", "changed is missing; more is new"),
    ):
        with pytest.raises(SchemaMismatch, match=words):
            merged([of_root / f"{first}.root", of_root / f"{second}.root"], tmp_path / "out.root")
        with pytest.raises(SchemaMismatch):
            merged([of_root / f"{first}.root", of_root / f"{second}.root"], tmp_path / "out.root", "proven")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("depth", ["sealed", "proven"])
@pytest.mark.parametrize("event", [None, 0.5])
def test_an_input_whose_events_have_another_identity_is_refused(
    tmp_path: Path, depth: str, event: float | None
) -> None:
    numbers = np.arange(20)
    fields = {"run": numbers, "luminosityBlock": numbers, "event": numbers}
    others = {**fields, "event": numbers * event} if event else {"run": numbers, "luminosityBlock": numbers}
    for name, columns in (("a", fields), ("b", others)):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            file.mkrntuple("Events", columns)
    with pytest.raises(SchemaMismatch, match="event is"):
        merged([tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root", depth)
    assert not (tmp_path / "out.root").exists()


@pytest.mark.parametrize(
    ("identity", "words", "depths"),
    [
        (("run", "luck"), "aren't there: luck", DEPTHS),
        (("x",), "x are no plain integers", DEPTHS[1:]),  # nobody looks at values that are only copied
        (("flag",), "flag are no plain integers", DEPTHS[1:]),
    ],
)
def test_an_identity_that_no_fields_are_is_refused_by_name(
    tmp_path: Path, identity: tuple[str, ...], words: str, depths: list[str]
) -> None:
    with uproot.recreate(tmp_path / "in.root") as file:
        file.mkrntuple("T", {"run": np.arange(9), "x": np.arange(9.0), "flag": np.arange(9) > 4})
    for depth in depths:
        with pytest.raises(MissingIdentity, match=words):
            merged([tmp_path / "in.root"] * 2, tmp_path / "out.root", depth, identity=identity)
        assert not (tmp_path / "out.root").exists()


@pytest.mark.judge
@needs_root
def test_fields_that_were_added_late_are_told(of_root: Path, tmp_path: Path) -> None:
    paths = [of_root / "plain.root", of_root / "late.root"]
    for depth in DEPTHS:
        report = merged(paths, tmp_path / f"{depth}.root", depth, identity=("event",))
        assert "is the first with added, added_list, added_pair" in "".join(report.notes)
        found = arrays(tmp_path / f"{depth}.root", ["event", "added", "added_list"])
        assert not found["added"][:430].to_numpy().any()
        assert (found["added"][430:] == found["event"][430:]).to_numpy().all()
        assert not ak.num(found["added_list"])[:430].to_numpy().any()


@pytest.mark.judge
@needs_root
@pytest.mark.parametrize("name", ALIKE)
def test_pages_are_proven_as_they_are_copied(of_root: Path, tmp_path: Path, name: str) -> None:
    sources = [of_root / f"{source}.root" for source in ALIKE[name]]
    report = merged(sources, tmp_path / "out.root", "proven", identity=("event",))
    assert report.output.fingerprint is not None
    assert {one.content for one in report.inputs} == {None}  # no other value was read
    plain = merged(sources, tmp_path / "plain.root", "sealed", identity=("event",))
    assert report.output.trees == plain.output.trees
    assert report.output.fingerprint == plain.output.fingerprint
    assert report.duplicates == plain.duplicates
    assert report.covered is not None
    assert plain.covered is not None
    assert report.covered >= plain.covered
    verify(tmp_path / "out.root")


def test_files_of_any_size_are_written(real_data: Path, tmp_path: Path) -> None:
    with Sink(tmp_path / "out.root", big_from=300) as sink:
        copier = NTupleCopier(sink, depth="sealed")
        for _ in range(2):
            with Input(real_data / REAL[1]) as source:
                copier.add(copier.prepare(source, ["Events"]))
        copier.finish()
        sink.close(copier.check)
    same(arrays(tmp_path / "out.root"), joined([real_data / REAL[1]] * 2))


@pytest.mark.parametrize("depth", DEPTHS)
def test_ntuples_in_directories_are_merged_each_by_its_path(tmp_path: Path, depth: str) -> None:
    for name, first in (("a", 0), ("b", 400)):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            event = np.arange(first, first + 400)
            file.mkrntuple("deep/down/Events", {"run": np.ones(400, "u4"), "event": event})
            file.mkrntuple("More", {"x": event * 1.5})
    sources, out = [tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root"
    both = ("deep/down/Events", "More")
    report = merged(sources, out, depth, event_trees=both, identity=("event",))
    assert report.output.trees == dict.fromkeys(both, 800)
    with uproot.open(out) as file:
        assert file["More"]["x"].array().tolist() == (np.arange(800) * 1.5).tolist()
        assert file["deep/down/Events"]["event"].array().tolist() == list(range(800))
    verify(out)
    out.unlink()
    report = merged(sources, out, depth, event_trees=both[:1], identity=("event",))
    assert report.output.trees == {"deep/down/Events": 800, "More": 800}
    with uproot.open(out) as file:
        assert file["More"]["x"].array().tolist() == (np.arange(800) * 1.5).tolist()
