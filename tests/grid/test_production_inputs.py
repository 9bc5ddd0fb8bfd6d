"""Names, recipes and inputs of productions: what is the same, what is refused, and in what words."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import uproot

from grid import Production, connect
from grid.mock.sample import make_sample
from grid.trigger import TriggerTable
from sitecfg.errors import MissingFile, NotFound, RecipeChanged, TriggerTableError, UsageError
from tests.grid.house import House, grid, identities
from tests.grid.test_production import STREAMS, TABLE, rows

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.farm


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
    assert (facts["files_bad"], facts["events_bad"]) == (1, 400)
    assert "bad            1 files          400 events  set aside" in house("status", name).out
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
    facts = house.watch("growing")
    assert (facts["state"], facts["events_in"], facts["streams"][0]["files"]) == ("complete", 600, 2)
    assert house.run(production)["events_in"] == 600, "submitting it again adds nothing"
    assert [one for one in house.files("late:growing.all") if one in first] == first, (
        "no file is merged again"
    )
    assert sorted(identities(house.paths("late:growing.all"))) == sorted(identities([early, late, later]))


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
