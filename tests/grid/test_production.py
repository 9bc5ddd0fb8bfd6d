"""A production end to end: what comes out is what uproot and numpy say must come out; what is wrong is refused."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import uproot

from grid import Production
from grid.mock.sample import MENU, make_sample
from grid.trigger import TriggerTable
from tests.grid.house import House, expected_streams, fired, identities, record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

pytestmark = pytest.mark.farm

STREAMS = {
    "MUON": ["HLT_Mu17_v3", "HLT_IsoMu24_v5"],
    "JET": ["HLT_PFJet80_v4"],
    "MET": ["HLT_PFMET120_v6"],
    "NEVER": ["HLT_PFJet320_v2"],
}
TABLE = TriggerTable("PHYSICS", 9, STREAMS)


def events_of(paths: Sequence[Path], tree: str = "Events") -> ak.Array:
    """Everything in the events of some files, sorted by identity."""
    parts = []
    for path in paths:
        with uproot.open(path) as file:
            parts.append(file[tree].arrays())
    whole = ak.concatenate(parts)
    return whole[np.lexsort([ak.to_numpy(whole[name]) for name in ("event", "luminosityBlock", "run")])]


def same(one: ak.Array, other: ak.Array) -> bool:
    return bool(set(ak.fields(one)) == set(ak.fields(other))) and all(
        one[name].to_list() == other[name].to_list() for name in ak.fields(other)
    )


def rows(path: Path, tree: str) -> list[tuple[int, ...]]:
    with uproot.open(path) as file:
        columns = [branch.array(library="np").tolist() for branch in file[tree].branches]
        return list(zip(*columns, strict=True))


@pytest.fixture(scope="module")
def split(house: House, paths: list[Path]) -> dict[str, Any]:
    """The report of a production without user code: split by a table with overlaps, merged."""
    return house.run(Production(name="split", input=[*paths], split=TABLE, scope="prod"))


def test_streams_and_books_are_what_numpy_says(
    house: House, split: dict[str, Any], paths: list[Path]
) -> None:
    sets, nowhere, overlap = expected_streams(paths, STREAMS)
    assert split["state"] == "complete"
    assert (split["files_in"], split["events_in"]) == (3, 1200)
    assert split["events_nowhere"] == nowhere > 0
    assert split["events_dropped"] == 0
    assert split["overlap"] == overlap
    everything = events_of(paths)
    at = dict(zip(sorted(identities(paths)), range(1200), strict=True))
    for told in split["streams"]:
        wanted = sets[told["stream"]]
        (path,) = house.paths(told["dataset"])
        found = identities([path])
        assert Counter(found) == Counter(wanted)
        assert (told["files"], told["events"]) == (1, len(wanted))
        assert same(events_of([path]), everything[sorted(at[one] for one in wanted)])
    assert not split["failures"]
    assert not split["held"]
    assert split["attempts"] == 3 + 4
    assert split["cpu_s"] > 0


def test_events_are_in_the_order_of_their_run_sections(house: House, split: dict[str, Any]) -> None:
    (path,) = house.paths("prod:split.MUON")
    found = [one[:2] for one in identities([path])]
    assert found == sorted(found)


def test_rows_of_other_trees_come_once(house: House, split: dict[str, Any], paths: list[Path]) -> None:
    for stream in STREAMS:
        (path,) = house.paths(f"prod:split.{stream}")
        for tree in ("Runs", "LuminosityBlocks"):
            assert rows(path, tree) == [row for source in paths for row in rows(source, tree)], (
                "also when empty"
            )


def test_the_record_in_each_file(house: House, split: dict[str, Any], paths: list[Path]) -> None:
    from grid.steps.release import release_digest

    inputs = {one["name"]: one for one in house.files("prod:split.input")}
    unmerged = {one["name"]: one for one in house.files("prod:split.MUON.unmerged")}
    for path in house.paths("prod:split.MUON.unmerged"):
        told = record(path)
        assert told["production"] == "split"
        assert told["stream"] == "MUON"
        assert len(told["recipe"]) == 64
        assert told["release_digest"] == release_digest()
        assert (told["table"]["name"], told["table"]["hash"]) == ("PHYSICS/9", TABLE.hash)
        (parent,) = told["parents"]
        assert inputs[parent["name"]]["xxh3"] == parent["xxh3"]
    (path,) = house.paths("prod:split.MUON")
    told = record(path)
    assert told["table"]["hash"] == TABLE.hash
    assert {one["name"]: one["xxh3"] for one in told["parents"]} == {
        name: one["xxh3"] for name, one in unmerged.items()
    }


def test_the_audit_closes(house: House, split: dict[str, Any]) -> None:
    answer = house("audit", "split", "--deep", "--json").json
    assert answer["findings"] == []
    (one,) = answer["audits"]
    assert {s["stream"]: s["merged"] for s in one["streams"]} == {
        told["stream"]: told["events"] for told in split["streams"]
    }


def test_equal_productions_give_equal_bytes(house: House, split: dict[str, Any], paths: list[Path]) -> None:
    house.run(Production(name="split-again", input=[*paths], split=TABLE, scope="prod", merge=None))
    house.run(Production(name="split-again2", input=[*paths], split=TABLE, scope="prod", merge=None))

    def events(name: str) -> list[tuple[Any, ...]]:
        files = house.files(f"prod:{name}.JET")
        return [(one["events"], one["fingerprint"], one["content"]) for one in files]

    assert (
        events("split-again")
        == events("split-again2")
        == events("split")[:0]
        + [
            (one["events"], one["fingerprint"], one["content"])
            for one in house.files("prod:split.JET.unmerged")
        ]
    )


def test_cms_files_one_of_them_empty(house: House, real_data: Path) -> None:
    files = [real_data / "nano_dy.root", real_data / "nano_dy_empty.root"]
    streams = {"A": ["HLT_PFJet25", "HLT_HcalPhiSym"], "B": ["HLT_AK8PFJet25"]}
    facts = house.run(Production(name="dy", input=files, split=TriggerTable("DY", 1, streams), scope="cms"))
    sets, nowhere, overlap = expected_streams(files, streams)
    assert facts["state"] == "complete"
    assert {one["stream"]: one["events"] for one in facts["streams"]} == {k: len(v) for k, v in sets.items()}
    assert (facts["events_in"], facts["events_nowhere"], facts["overlap"]) == (40, nowhere, overlap)
    for stream, wanted in sets.items():
        merged = house.paths(f"cms:dy.{stream}")
        assert Counter(identities(merged)) == Counter(wanted)
        assert len(house.files(f"cms:dy.{stream}.unmerged")) == 2, "an output for the empty input too"
        with uproot.open(merged[0]) as file, uproot.open(files[0]) as source:
            assert file["Events"].keys() == source["Events"].keys()
            assert file["Runs"].arrays().to_list() == source["Runs"].arrays().to_list()
    house("audit", "dy")


def test_real_collisions_fire_as_often_as_their_manifest_says(house: House, real_data: Path) -> None:
    manifest = json.loads((real_data / "MANIFEST.json").read_text())
    (entry,) = [one for one in manifest["entries"] if one["name"] == "Run2012B_SingleMu_1000.root"]
    counts = entry["trigger_oracle"]["hlt_paths_fired"]
    streams = {name.removeprefix("HLT_"): [name] for name in counts}
    source = real_data / entry["name"]
    facts = house.run(
        Production(
            name="mu2012", input=source, split=TriggerTable("MU", 1, streams), scope="cms", merge="1 MB"
        )
    )
    assert {f"HLT_{one['stream']}": one["events"] for one in facts["streams"]} == counts
    assert facts["events_nowhere"] == entry["trigger_oracle"]["events_with_no_hlt"]
    for name in counts:
        found = identities(house.paths(f"cms:mu2012.{name.removeprefix('HLT_')}"))
        whole = identities([source])
        assert found == [whole[i] for i in np.flatnonzero(fired([source], [name]))]


def test_a_production_over_a_production(house: House, split: dict[str, Any]) -> None:
    facts = house.run(
        Production(
            name="second-pass", input="prod:split.MUON", scope="prod", keep=["drop Jet_*", "drop nJet"]
        )
    )
    assert facts["state"] == "complete"
    found = events_of(house.paths("prod:second-pass.all"))
    wanted = events_of(house.paths("prod:split.MUON"))
    assert set(ak.fields(wanted)) - set(ak.fields(found)) == {"nJet", "Jet_pt", "Jet_eta"}
    assert found.event.to_list() == wanted.event.to_list()


def test_merge_targets_make_files_of_that_size(house: House, paths: list[Path]) -> None:
    target = int(paths[0].stat().st_size * 1.5)
    facts = house.run(Production(name="sized", input=[*paths], merge=target, scope="prod"))
    files = house.files("prod:sized.all")
    assert len(files) == facts["streams"][0]["files"] == 3
    assert identities(house.paths("prod:sized.all")) == identities(paths)
    two = house.run(Production(name="sized2", input=[*paths], merge=f"{target * 2} B", scope="prod"))
    assert two["streams"][0]["files"] == 2


def test_without_a_merge(house: House, paths: list[Path]) -> None:
    facts = house.run(Production(name="unmerged", input=[*paths], merge=None, split=TABLE, scope="prod"))
    assert facts["state"] == "complete"
    assert [one["files"] for one in facts["streams"]] == [3, 3, 3, 3]
    names = [one["name"] for one in house.files("prod:unmerged.MUON")]
    assert names == [f"prod:unmerged.MUON--{path.name}" for path in paths]
    sets, _, _ = expected_streams(paths, STREAMS)
    assert Counter(identities(house.paths("prod:unmerged.MUON"))) == Counter(sets["MUON"])
    assert "prod:unmerged.MUON.unmerged" in house("ls", "prod:unmerged.MUON.unmerged", code=2).err
    house("audit", "unmerged", "--deep")


def test_prescales_keep_a_fixed_part(house: House, tmp_path: Path) -> None:
    (made,) = make_sample(tmp_path, files=1, events=4000, seed=5)
    table = TriggerTable("PRE", 1, {"MUON": ["HLT_Mu17_v3"]}, prescales={"HLT_Mu17_v3": 4})
    facts = house.run(Production(name="prescaled", input=made.path, split=table, scope="prod"))
    (told,) = facts["streams"]
    whole = made.fired["HLT_Mu17_v3"]
    assert abs(told["events"] - whole / 4) < 5 * np.sqrt(whole * 3 / 16)
    wanted = {
        one
        for one, flag in zip(identities([made.path]), fired([made.path], ["HLT_Mu17_v3"]), strict=True)
        if flag
    }
    assert set(identities(house.paths("prod:prescaled.MUON"))) <= wanted


def test_every_path_of_the_menu_is_a_stream_of_its_own(house: House, paths: list[Path]) -> None:
    streams = {name.removeprefix("HLT_"): [name] for name in MENU}
    facts = house.run(
        Production(name="paths", input=[*paths], split=TriggerTable("PATHS", 1, streams), scope="prod")
    )
    _, nowhere, overlap = expected_streams(paths, streams)
    assert (facts["events_nowhere"], facts["overlap"]) == (nowhere, overlap)
