"""A production end to end: what comes out is what uproot and numpy say must come out; what is wrong is refused."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import uproot

from grid import Production, connect
from grid.mock.sample import MENU, make_sample
from grid.trigger import TriggerTable
from sitecfg.errors import MissingFile, NotFound, RecipeChanged, TriggerTableError, UsageError
from tests.grid.house import House, expected_streams, fired, grid, identities, record

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


# --- what comes out ------------------------------------------------------------------------------------------------


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
    streams = {"A": ["HLT_PFJet15", "HLT_PFJet25"], "B": ["HLT_AK8PFJet25"], "NONE": ["HLT_IsoMu24"]}
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
    house("audit", "dy", "--deep")


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


# --- the user's code -----------------------------------------------------------------------------------------------

GOOD_CODE = """
import awkward as ak
import numpy as np
from grid import Production

def reconstruct(events, conditions):
    events = events[events.MET_pt > conditions["cut"]["met"]]
    events["MET_pt"] = events.MET_pt * np.float32(conditions["scale"])
    events["dimuon"] = ak.num(events.Muon_pt) >= 2
    events["Jet_pt2"] = events.Jet_pt ** 2
    events["HT"] = ak.values_astype(ak.sum(events.Jet_pt, axis=1), np.float64)
    return events[[name for name in events.fields if name != "Muon_phi"]]

p = Production(
    name="reco", input={inputs!r}, process=reconstruct, conditions={conditions!r}, scope="prod",
    split=__import__("grid.trigger").trigger.TriggerTable("PHYSICS", 9, {streams!r}),
)
"""


def test_user_code_drops_changes_and_adds(house: House, tmp_path: Path, paths: list[Path]) -> None:
    constants = tmp_path / "gt.toml"
    constants.write_text("scale = 2.0\n[cut]\nmet = 25\n")
    text = GOOD_CODE.format(inputs=[str(one) for one in paths], conditions=str(constants), streams=STREAMS)
    (production,) = house.scripted(tmp_path, text)
    facts = house.run(production)
    assert facts["state"] == "complete"
    everything = events_of(paths)
    kept = everything[everything.MET_pt > 25]
    assert facts["events_dropped"] == len(everything) - len(kept) > 0
    in_any = np.zeros(len(kept), bool)
    for stream, names in STREAMS.items():
        flags = np.logical_or.reduce([ak.to_numpy(kept[name]) for name in names])
        in_any |= flags
        wanted, found = kept[flags], events_of(house.paths(f"prod:reco.{stream}"))
        assert set(ak.fields(found)) == set(ak.fields(wanted)) - {"Muon_phi"} | {
            "dimuon",
            "Jet_pt2",
            "HT",
        } | {name for name in ak.fields(found) if name.startswith("nJet_")}
        for name in set(ak.fields(wanted)) - {"MET_pt", "Muon_phi"}:
            assert found[name].to_list() == wanted[name].to_list(), name
        assert found.MET_pt.to_list() == (wanted.MET_pt * np.float32(2)).to_list()
        assert found.dimuon.to_list() == (ak.num(wanted.Muon_pt) >= 2).to_list()
        assert found.Jet_pt2.to_list() == (wanted.Jet_pt**2).to_list()
        assert np.allclose(found.HT, ak.sum(wanted.Jet_pt, axis=1))
    assert facts["events_nowhere"] == int((~in_any).sum())
    told = record(house.paths("prod:reco.MUON")[0])
    assert len(told["script"]) == 64
    assert len(told["conditions"]) == 64
    house("audit", "reco", "--deep")


def test_code_that_drops_everything(house: House, tmp_path: Path, paths: list[Path]) -> None:
    text = (
        "from grid import Production\n"
        "def nothing(events, conditions):\n    assert conditions is None\n    return events[:0]\n"
        f"p = Production(name='nothing', input={[str(one) for one in paths]!r}, process=nothing, scope='prod')\n"
    )
    (production,) = house.scripted(tmp_path, text)
    facts = house.run(production)
    assert (facts["state"], facts["events_dropped"]) == ("complete", 1200)
    (path,) = house.paths("prod:nothing.all")
    assert identities([path]) == []
    assert len(rows(path, "Runs")) == 3


BAD_CODE = """
import os
import sys
import awkward as ak
import numpy as np
from grid import Production

BAD_RUN = 300002

def there(events):
    return len(events) > 0 and events.run[0] == BAD_RUN

def repeats(events, conditions):
    return ak.concatenate([events, events[:2]]) if there(events) else events

def invents(events, conditions):
    if there(events):
        events["event"] = ak.where(events.event == 7, np.uint64(1_000_007), events.event)
    return events

def swaps_keys(events, conditions):
    if there(events):
        events["event"] = ak.to_numpy(events.event)[::-1].copy()
    return events

def turns(events, conditions):
    return events[::-1] if there(events) else events

def loses_keys(events, conditions):
    return events[["MET_pt", "nMuon"]] if there(events) else events

def raises(events, conditions):
    if there(events):
        raise ZeroDivisionError("thunder and lightning")
    return events

def returns_none(events, conditions):
    return None if there(events) else events

def returns_numbers(events, conditions):
    return events.MET_pt if there(events) else events

def returns_numpy(events, conditions):
    return np.zeros(len(events)) if there(events) else events

def returns_text(events, conditions):
    if there(events):
        events["word"] = ak.Array([{"a": {"b": 1}}] * len(events))
    return events

def misses_a_module(events, conditions):
    if there(events):
        import no_module_of_this_name
    return events

def leaves(events, conditions):
    if there(events):
        sys.exit(3)
    return events

def vanishes(events, conditions):
    if there(events):
        os._exit(11)
    return events

def crashes(events, conditions):
    if there(events):
        import ctypes
        ctypes.string_at(0)
    return events

def wrong_arguments(events):
    return events

def eats(events, conditions):
    if there(events):
        hoard = [np.ones(50_000_000) for _ in range(100)]
    return events

productions = [
    Production(name="bad-" + function.__name__.replace("_", "-"), input=INPUTS, process=function, scope="bad")
    for function in (
        repeats, invents, swaps_keys, turns, loses_keys, raises, returns_none, returns_numbers, returns_numpy,
        returns_text, misses_a_module, leaves, vanishes, crashes, wrong_arguments, eats,
    )
]
"""

#: What the report and the log of each must say.
CLEAR_ENDS = {
    "repeats": ["repeated", "event", "300002"],
    "invents": ["invented or re-keyed", "1000007"],
    "swaps-keys": ["invented or re-keyed", "300002"],
    "turns": ["reordered"],
    "loses-keys": ["run", "left out"],
    "raises": ["ZeroDivisionError", "thunder and lightning"],
    "returns-none": ["awkward array of events", "NoneType"],
    "returns-numbers": ["awkward array of events", "float32"],
    "returns-numpy": ["awkward array of events", "ndarray"],
    "returns-text": ["word"],
    "misses-a-module": ["no_module_of_this_name"],
    "leaves": ["SystemExit"],
    "vanishes": ["11"],
    "crashes": ["SIGSEGV"],
    "eats": ["memory"],
}


@pytest.fixture(scope="module")
def bad_code(house: House, tmp_path_factory: pytest.TempPathFactory, paths: list[Path]) -> House:
    """Productions whose code makes trouble in one file of two; all at once."""
    text = BAD_CODE.replace("INPUTS", repr([str(path) for path in paths[:2]]))
    house.submit(*house.scripted(tmp_path_factory.mktemp("bad code"), text))
    return house


@pytest.mark.parametrize("name", CLEAR_ENDS)
def test_bad_code_has_a_clear_end_and_the_other_files_go_on(
    bad_code: House, name: str, paths: list[Path]
) -> None:
    facts = bad_code.watch(f"bad-{name}", 240)
    assert facts["state"] == "stalled"
    (held,) = facts["held"]
    log = bad_code("log", held["job"]).out
    for word in CLEAR_ENDS[name]:
        assert word in held["why"], held["why"]
        assert word in log
    assert "sample_0001" in log
    assert identities(bad_code.paths(f"bad:bad-{name}.all")) == identities(paths[:1])
    assert bad_code("audit", f"bad-{name}", "--json").json["findings"] == []


def test_code_that_takes_no_conditions(bad_code: House) -> None:
    facts = bad_code.watch("bad-wrong-arguments", 240)
    assert facts["state"] == "stalled"
    assert len(facts["held"]) == 2
    assert "TypeError" in facts["held"][0]["why"]


def test_the_log_shows_the_traceback_in_the_users_script(bad_code: House) -> None:
    facts = bad_code.watch("bad-raises", 240)
    log = bad_code("log", facts["held"][0]["job"]).out
    assert "in raises" in log
    assert 'raise ZeroDivisionError("thunder and lightning")' in log


def test_a_script_that_workers_can_not_import(house: House, tmp_path: Path, paths: list[Path]) -> None:
    text = (
        "import os\nfrom grid import Production\n"
        "if os.environ.get('MDCGRID_PAYLOAD'):\n    import no_module_of_this_name\n"
        "def fine(events, conditions):\n    return events\n"
        f"p = Production(name='unimportable', input={str(paths[0])!r}, process=fine, scope='prod')\n"
    )
    (production,) = house.scripted(tmp_path, text)
    facts = house.run(production)
    assert facts["state"] == "stalled"
    assert "no_module_of_this_name" in facts["held"][0]["why"]


def test_connect_in_a_payload_is_told_about_the_guard(
    house: House, tmp_path: Path, paths: list[Path]
) -> None:
    text = (
        "import os\nfrom grid import Production, connect\n"
        "if os.environ.get('MDCGRID_PAYLOAD'):\n    connect()\n"
        "def fine(events, conditions):\n    return events\n"
        f"p = Production(name='unguarded', input={str(paths[0])!r}, process=fine, scope='prod')\n"
    )
    (production,) = house.scripted(tmp_path, text)
    facts = house.run(production)
    assert "__main__" in house.log_of("unguarded") + facts["held"][0]["why"]


# --- names and recipes ---------------------------------------------------------------------------------------------


def test_the_same_name_and_recipe_is_the_same_production(house: House, paths: list[Path]) -> None:
    one = Production(name="same", input=[*paths], split=TABLE, scope="prod")
    with connect(house.home) as connection:
        first = connection.submit(one)
        assert first.new
        again = connection.submit(Production(name="same", input=[*paths], split=TABLE, scope="prod"))
        assert not again.new
        assert first.watch(lambda _: None).state == "complete"
        report = str(first.report())
        assert str(connection.submit(one).report()) == report
        assert again.datasets() == {stream: f"prod:same.{stream}" for stream in STREAMS}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"split": None}, "split: PHYSICS/9"),
        ({"split": TriggerTable("OTHER", 1, {"MUON": ["HLT_Mu*"]})}, "→ OTHER/1"),
        ({"merge": "2 GB"}, "merge: 1000000000 → 2000000000"),
        ({"merge": None}, "merge: 1000000000 → 0"),
        ({"keep": ["drop Jet_eta"]}, "keep: () → ('drop Jet_eta',)"),
        ({"identity": "entry"}, "identity: "),
        ({"tree": "Events"}, "tree: () → ('Events',)"),
        ({"compression": "lz4:1"}, "compression: '' → 'lz4:1'"),
        ({"release": "3.6.0"}, "release: '' → '3.6.0'"),
        ({"scope": "other"}, "other"),
        ({"input": "none"}, "files: its content changed"),
    ],
    ids=lambda value: repr(value) if isinstance(value, dict) else "",
)
def test_another_recipe_is_refused_and_the_difference_shown(
    house: House, paths: list[Path], change: dict[str, Any], told: str
) -> None:
    given: dict[str, Any] = {"name": "recipe", "input": paths[0], "split": TABLE, "scope": "prod"}
    with connect(house.home) as connection:
        connection.submit(Production(**given))
        if "input" in change:
            change = {"input": paths[1]}
        with pytest.raises(RecipeChanged) as refused:
            connection.submit(Production(**{**given, **change}))
    assert told in str(refused.value)


def test_another_table_of_the_same_name_is_refused(house: House, paths: list[Path]) -> None:
    other = TriggerTable("PHYSICS", 9, {"MUON": ["HLT_Mu*"]})
    house.submit(Production(name="table", input=paths[0], split=TABLE, scope="prod"))
    with pytest.raises(TriggerTableError, match="PHYSICS/10"):
        house.submit(Production(name="table2", input=paths[0], split=other, scope="prod"))


def test_changed_code_is_another_recipe(house: House, tmp_path: Path, paths: list[Path]) -> None:
    text = (
        "from grid import Production\ndef f(events, conditions):\n    return events{}\n"
        f"p = Production(name='code', input={str(paths[0])!r}, process=f, scope='prod')\n"
    )
    house.submit(*house.scripted(tmp_path / "a", text.format("")))
    with pytest.raises(RecipeChanged, match="script: its content changed"):
        house.submit(*house.scripted(tmp_path / "b", text.format("[:5]")))
    assert house.watch("code")["events_dropped"] == 0


# --- inputs --------------------------------------------------------------------------------------------------------


def test_inputs_that_share_events_are_refused_before_jobs_exist(
    house: House, tmp_path: Path, paths: list[Path]
) -> None:
    both = tmp_path / "both.root"
    grid("merge", both, paths[0], paths[1])
    facts = house.run(Production(name="shared", input=[paths[0], both, paths[2]], scope="prod"))
    assert facts["state"] == "stalled"
    (held,) = facts["held"]
    assert held["kind"] == "compare"
    run, _section, _event = identities([paths[0]])[0]
    assert f"run {run}" in held["why"]
    assert "both.root" in held["why"]
    assert "sample_0000.root" in held["why"]
    counts = house("status", "shared", "--json").json["done"]
    assert counts["process"] == 1, "the third file shares nothing"
    assert identities(house.paths("prod:shared.all")) == identities([paths[2]])


def test_inputs_that_share_sections_but_no_events_go_on(
    house: House, tmp_path: Path, paths: list[Path]
) -> None:
    table = tmp_path / "zero.toml"
    table.write_text('name = "ZB"\ntag = 1\n[streams]\nZB = ["HLT_ZeroBias_v*"]\n')
    text = (
        "from grid import Production\n"
        "def even(events, conditions):\n    return events[events.event % 2 == 0]\n"
        "def odd(events, conditions):\n    return events[events.event % 2 == 1]\n"
        f"p = [Production(name=f.__name__, input={str(paths[0])!r}, process=f, scope='prod') for f in (even, odd)]\n"
    )
    productions = house.scripted(tmp_path, text)
    house.submit(*productions)
    for one in productions:
        assert house.watch(one.name)["state"] == "complete"
    halves = [*house.paths("prod:even.all"), *house.paths("prod:odd.all")]
    facts = house.run(Production(name="halves", input=halves, scope="prod"))
    assert facts["state"] == "complete"
    assert house("status", "halves", "--json").json["done"]["compare"] == 1
    merged = house.paths("prod:halves.all")
    assert sorted(identities(merged)) == sorted(identities(paths[:1]))
    assert rows(merged[0], "Runs") == rows(paths[0], "Runs"), "both halves carry the rows of one file"
    assert rows(merged[0], "LuminosityBlocks") == rows(paths[0], "LuminosityBlocks")


@pytest.mark.parametrize("how", ["copy", "symlink", "hard link"])
def test_one_file_under_two_names_is_refused(
    house: House, tmp_path: Path, paths: list[Path], how: str
) -> None:
    first, second = tmp_path / "first.root", tmp_path / "second.root"
    shutil.copy(paths[0], first)
    if how == "copy":
        shutil.copy(first, second)
    elif how == "symlink":
        second.symlink_to(first)
    else:
        os.link(first, second)
    name = f"twice-{how.replace(' ', '-')}"
    facts = house.run(Production(name=name, input=[first, second, paths[1]], scope="prod"))
    assert facts["state"] == "stalled"
    assert facts["files_bad"] == 1
    (held,) = facts["held"]
    assert "one file under two names" in held["why"]
    assert "first.root" in held["why"] or "second.root" in held["why"]
    assert sorted(identities(house.paths(f"prod:{name}.all"))) == sorted(identities(paths[:2]))


def test_one_file_named_twice_is_one_input(house: House, paths: list[Path]) -> None:
    relative = os.path.relpath(paths[0])
    facts = house.run(Production(name="once", input=[paths[0], str(paths[0]), relative], scope="prod"))
    assert (facts["state"], facts["files_in"], facts["events_in"]) == ("complete", 1, 400)


def test_files_of_different_menus_stall_with_the_reason(house: House, real_data: Path) -> None:
    files = [real_data / "nano_dy.root", real_data / "Run2012B_SingleMu_1000.root"]
    table = TriggerTable("MIXED", 1, {"A": ["HLT_*"]})
    facts = house.run(Production(name="menus", input=files, split=table, scope="cms"))
    assert facts["state"] == "stalled"
    (reason,) = facts["reasons"]
    assert "2 different trigger menus" in reason
    assert "nano_dy.root" in reason
    assert "Run2012B_SingleMu_1000.root" in reason
    assert house("status", "menus", "--json").json["done"]["process"] == 0


def test_a_table_that_does_not_fit_the_files(house: House, paths: list[Path]) -> None:
    table = TriggerTable("TYPO", 1, {"MUON": ["HLT_IsoMu42_v5"]})
    facts = house.run(Production(name="typo", input=[*paths], split=table, scope="prod"))
    assert facts["state"] == "stalled"
    assert "HLT_IsoMu24_v5" in facts["held"][0]["why"] + "".join(facts["reasons"])


def test_files_without_identity(house: House, real_data: Path) -> None:
    files = [real_data / "Tuple_1.root", real_data / "Tuple_2.root"]
    tree = "tuple/DecayTree"
    facts = house.run(Production(name="no-identity", input=files, tree=tree, scope="lhcb"))
    assert facts["state"] == "stalled"
    assert len(facts["held"]) == 2
    assert "identify an event" in facts["held"][0]["why"]
    facts = house.run(Production(name="by-entry", input=files, tree=tree, identity="entry", scope="lhcb"))
    assert (facts["state"], facts["events_in"]) == ("complete", 80)
    (merged,) = house.paths("lhcb:by-entry.all")
    with uproot.open(merged) as file:
        found = file[tree].arrays(library="np")
    assert len(set(zip(found["mdcgrid_file"], found["mdcgrid_entry"], strict=True))) == 80
    with uproot.open(files[0]) as one, uproot.open(files[1]) as two:
        name = one[tree].keys()[0]
        wanted = [*one[tree][name].array(library="np"), *two[tree][name].array(library="np")]
    assert sorted(found[name].tolist()) == sorted(np.asarray(wanted).tolist())
    house("audit", "by-entry", "--deep")


def test_an_empty_input_gives_empty_outputs(house: House, real_data: Path) -> None:
    table = TriggerTable("EMPTY", 1, {"A": ["HLT_PFJet15"], "B": ["HLT_IsoMu24"]})
    facts = house.run(
        Production(name="empty", input=real_data / "nano_dy_empty.root", split=table, scope="cms")
    )
    assert (facts["state"], facts["events_in"], facts["events_nowhere"]) == ("complete", 0, 0)
    for stream in "AB":
        (path,) = house.paths(f"cms:empty.{stream}")
        with uproot.open(path) as file:
            assert file["Events"].num_entries == 0
            assert len(file["Events"].keys()) == 1499


def test_inputs_by_dataset_glob_and_path(house: House, paths: list[Path]) -> None:
    house("declare", "prod:raw", *paths)
    ways: dict[str, Any] = {
        "by-dataset": "prod:raw",
        "by-glob": str(paths[0].parent / "sample_*.root"),
        "by-path": paths[0],
        "by-url": paths[1].as_uri(),
    }
    house.submit(*(Production(name=name, input=given, scope="prod") for name, given in ways.items()))
    events = {name: house.watch(name)["events_in"] for name in ways}
    assert events == {"by-dataset": 1200, "by-glob": 1200, "by-path": 400, "by-url": 400}
    (whole,) = house.files("prod:by-dataset.all")
    (same_whole,) = house.files("prod:by-glob.all")
    assert (whole["fingerprint"], whole["content"]) == (same_whole["fingerprint"], same_whole["content"])


def test_late_files_of_a_dataset_make_files_of_their_own(house: House, tmp_path: Path) -> None:
    early, late, later = (one.path for one in make_sample(tmp_path, files=3, events=200, seed=77))
    house("declare", "late:growing", early, late)
    production = Production(name="growing", input="late:growing", scope="late")
    assert house.run(production)["events_in"] == 400
    first = house.files("late:growing.all")
    house("declare", "late:growing", later)
    assert house.watch("growing")["events_in"] == 400, (
        "a production has the inputs that it was submitted with"
    )
    facts = house.run(production)
    assert (facts["state"], facts["events_in"], facts["streams"][0]["files"]) == ("complete", 600, 2)
    assert [one for one in house.files("late:growing.all") if one in first] == first, (
        "no file is merged again"
    )
    assert sorted(identities(house.paths("late:growing.all"))) == sorted(identities([early, late, later]))


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


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"input": "none.root"}, MissingFile),
        ({"input": "none*.root"}, MissingFile),
        ({"input": "/"}, MissingFile),
        ({"input": []}, UsageError),
        ({"input": "prod:none"}, NotFound),
        ({"input": "prod:raw/x"}, UsageError | MissingFile),
        ({"split": "NONE/1"}, NotFound),
        ({"name": "a--b"}, UsageError),
        ({"name": "x" * 101}, UsageError),
        ({"name": ""}, UsageError),
        ({"scope": "a:b"}, UsageError),
        ({"merge": "-1 GB"}, UsageError),
        ({"merge": 0}, UsageError),
        ({"conditions": "none.toml"}, MissingFile),
        ({"identity": ()}, UsageError),
        ({"tree": ("",)}, UsageError),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else "",
)
def test_productions_that_are_refused_at_once(
    house: House, paths: list[Path], given: dict[str, Any], error: type[Exception]
) -> None:
    whole = {"name": "refused", "input": [*paths], "scope": "prod", **given}
    with connect(house.home) as connection, pytest.raises(getattr(error, "__args__", error)):
        connection.submit(Production(**whole))
    assert "no such production" in house("status", "refused", code=2).err


# --- merging -------------------------------------------------------------------------------------------------------


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
