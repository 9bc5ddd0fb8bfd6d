from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from grid.rootio.facts import file_facts
from grid.rootio.source import open_source
from grid.rootio.tally import NOTHING, sum_hex
from sitecfg.errors import MissingIdentity, SchemaMismatch, UnsupportedContent
from tests.grid.rootio.making import PATHS, Table, events, flat, nano, write

if TYPE_CHECKING:
    from pathlib import Path

CMS = ("nano_tt_v15.root", "nano_dy.root", "nano_dy_empty.root", "Run2012B_SingleMu_1000.root")


def oracle(real_data: Path, name: str) -> dict[str, Any]:
    manifest = json.loads((real_data / "MANIFEST.json").read_text())
    entry: dict[str, Any] = next(one for one in manifest["entries"] if one["name"] == name)
    return entry


@pytest.mark.parametrize("name", CMS)
def test_facts_of_real_files_agree_with_the_manifest(real_data: Path, name: str) -> None:
    known = oracle(real_data, name)
    facts = file_facts(real_data / name)
    assert (facts.bytes, facts.adler32) == (known["size"], known["adler32"])
    assert facts.trees == {key.split(";")[0]: tree["entries"] for key, tree in known["trees"].items()}
    assert facts.events == facts.trees["Events"]
    assert len(facts.menu) == known["trees"]["Events;1"]["hlt_bits"]
    assert sorted({run for run, _, _ in facts.sections}) == known["runs"]
    assert sum(count for _, _, count in facts.sections) == facts.events
    assert facts.duplicates == ()
    assert facts.refused == ()
    with open_source(real_data / name) as source:
        bits = source.read("Events", facts.menu, 0, facts.events)
    fired = {path: int(column.values.sum()) for path, column in bits.items()}
    wanted = known["trigger_oracle"]["hlt_paths_fired"]
    assert {path: fired[path] for path in wanted} == wanted


def test_facts_do_not_depend_on_chunks_compression_or_format(tmp_path: Path, real_data: Path) -> None:
    table = nano(tmp_path / "a.root", 300)
    write(tmp_path / "b.root", {"Events": table}, compression="zstd:3", cluster_bytes=1500)
    one = file_facts(tmp_path / "a.root")
    two = file_facts(tmp_path / "b.root", memory_bytes=2000)
    assert (one.events, one.fingerprint, one.content) == (two.events, two.fingerprint, two.content)
    assert one.sections == two.sections
    tree, ntuple = file_facts(real_data / "nano_dy.root"), file_facts(real_data / "nano_dy_rntuple.root")
    assert (tree.fingerprint, tree.content) == (ntuple.fingerprint, ntuple.content)
    names = ("HZZ-uncompressed.root", "HZZ-lzma.root", "HZZ-lz4.root", "uproot-HZZ-zstd.root")
    found = [file_facts(real_data / name, identity=None) for name in names]
    assert len({facts.content for facts in found}) == 1
    assert {facts.fingerprint for facts in found} == {None}


def test_fingerprints_and_contents_add(tmp_path: Path) -> None:
    whole = events(100)
    for name, index in (("whole", range(100)), ("even", range(0, 100, 2)), ("odd", range(99, 0, -2))):
        write(tmp_path / f"{name}.root", {"Events": whole.take(list(index))})
    facts = {name: file_facts(tmp_path / f"{name}.root") for name in ("whole", "even", "odd")}
    assert facts["whole"].fingerprint == sum_hex(
        [str(facts["even"].fingerprint), str(facts["odd"].fingerprint)]
    )
    assert facts["whole"].content == sum_hex([facts["even"].content, facts["odd"].content])


def test_an_empty_file_has_facts(tmp_path: Path) -> None:
    nano(tmp_path / "f.root", 0)
    facts = file_facts(tmp_path / "f.root")
    assert (facts.events, facts.fingerprint, facts.content, facts.sections) == (0, NOTHING, NOTHING, ())
    assert facts.menu == PATHS


def test_events_that_occur_twice_are_named(tmp_path: Path) -> None:
    table = events(50).take([*range(50), 7, 3])
    write(tmp_path / "f.root", {"Events": table})
    facts = file_facts(tmp_path / "f.root", memory_bytes=500)
    assert facts.duplicates == (
        "entries 7 and 50: run 1, luminosityBlock 1, event 7",
        "entries 3 and 51: run 1, luminosityBlock 1, event 3",
    )


def test_missing_identity_lists_near_names(tmp_path: Path) -> None:
    table = (
        Table().add(flat("run", "i4"), [1]).add(flat("lumiBlock", "i4"), [1]).add(flat("event", "i8"), [1])
    )
    write(tmp_path / "f.root", {"Events": table})
    with pytest.raises(MissingIdentity, match="luminosityBlock") as caught:
        file_facts(tmp_path / "f.root")
    assert "lumiBlock" in caught.value.todo
    without = file_facts(tmp_path / "f.root", identity=None)
    assert without.fingerprint is None
    assert "no identity" in without.notes[0]
    assert file_facts(tmp_path / "f.root", identity=("run", "lumiBlock", "event")).fingerprint is not None


def test_identity_by_entry_needs_no_branches_and_differs_by_file(tmp_path: Path) -> None:
    for name, start in (("a", 0), ("b", 1)):
        write(tmp_path / f"{name}.root", {"t": Table().add(flat("x", "f4"), np.arange(start, 5.0))})
    facts = [file_facts(tmp_path / f"{name}.root", identity=("entry",)) for name in "ab"]
    assert facts[0].fingerprint != facts[1].fingerprint
    assert facts[0] == file_facts(tmp_path / "a.root", identity=("entry",), memory_bytes=8)


def test_floats_are_no_identity(tmp_path: Path) -> None:
    write(tmp_path / "f.root", {"t": Table().add(flat("event", "f8"), [1.0])})
    with pytest.raises(MissingIdentity, match="no plain integers"):
        file_facts(tmp_path / "f.root", identity=("event",))


def test_parallel_event_trees_are_one_event(real_data: Path) -> None:
    path = real_data / "orca6_sample.root"
    with pytest.raises(UnsupportedContent, match="isn't clear: T, E, headerTree"):
        file_facts(path)
    facts = file_facts(path, event_trees=("T", "E"), identity=("run_id", "frame_index", "trigger_counter"))
    assert facts.events == 2499
    assert facts.event_trees == ("T", "E")
    with pytest.raises(SchemaMismatch, match="T 2499, headerTree 1"):
        file_facts(path, event_trees=("T", "headerTree"), identity=None)


def test_facts_are_plain_json(tmp_path: Path) -> None:
    nano(tmp_path / "f.root", 5, record={"stream": "A"})
    facts = file_facts(tmp_path / "f.root")
    assert json.loads(json.dumps(facts.to_json()))["record"] == {"stream": "A"}
