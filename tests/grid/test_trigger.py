from __future__ import annotations

import json
import pickle
import random
import re
import tomllib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid.trigger import MAX_STREAMS, TriggerTable, diff, families, menu_hash
from grid.trigger.toml import to_toml
from kernels import reference
from sitecfg.errors import TriggerTableError

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
name = "PHYSICS_1_01"
tag = 6
description = "muons and electrons"

[streams]
MUON = ["HLT_IsoMu*", "HLT_Mu50_v*"]
ELECTRON = ["HLT_Ele27_WPTight_Gsf"]

[prescales]
"HLT_IsoMu*" = 10
"HLT_IsoMu24" = 2
"""
MENU = ["HLT_Mu50_v13", "HLT_IsoMu24", "HLT_Ele27_WPTight_Gsf", "HLT_IsoMu20", "HLT_PFMET120"]
ONE = {"A": ["HLT_A"]}


def _table(tmp_path: Path, text: str = TOML) -> TriggerTable:
    (tmp_path / "table.toml").write_text(text)
    return TriggerTable.from_toml(tmp_path / "table.toml")


def test_a_table_is_read_from_toml(tmp_path: Path) -> None:
    table = _table(tmp_path)
    assert str(table) == "PHYSICS_1_01/6"
    assert list(table.streams) == ["MUON", "ELECTRON"]
    assert table.streams["MUON"] == ("HLT_IsoMu*", "HLT_Mu50_v*")
    assert table.prescales == {"HLT_IsoMu*": 10, "HLT_IsoMu24": 2}
    assert table.origin is None


def test_a_table_survives_json_and_pickling(tmp_path: Path) -> None:
    table = _table(tmp_path)
    for copy in (
        TriggerTable.from_json(json.loads(json.dumps(table.to_json()))),
        TriggerTable.from_json(table.canonical),
        pickle.loads(pickle.dumps(table)),
    ):
        assert copy == table
        assert hash(copy) == hash(table)
        assert copy.hash == table.hash
        assert list(copy.streams) == list(table.streams)


def test_the_hash_is_of_the_content_not_of_how_it_was_written() -> None:
    one = TriggerTable("T", 1, {"A": ["b", "a"], "B": ["c"]}, {"x": 2, "a": 3}, origin=["b", "a", "c", "x"])
    same = TriggerTable(
        "T", 1, {"A": ["a", "b", "a"], "B": ["c"]}, {"a": 3, "x": 2}, origin=["x", "c", "b", "a"]
    )
    assert one == same
    assert one.hash == same.hash
    assert re.fullmatch("[0-9a-f]{64}", one.hash)
    others = [
        TriggerTable("T", 2, {"A": ["a", "b"], "B": ["c"]}, {"a": 3, "x": 2}, origin=["a", "b", "c", "x"]),
        TriggerTable("T", 1, {"B": ["c"], "A": ["a", "b"]}, {"a": 3, "x": 2}, origin=["a", "b", "c", "x"]),
        TriggerTable("T", 1, {"A": ["a", "b"], "B": ["c"]}, {"a": 3, "x": 4}, origin=["a", "b", "c", "x"]),
        TriggerTable("T", 1, {"A": ["a", "b"], "B": ["c"]}, {"a": 3, "x": 2}),
    ]
    assert len({table.hash for table in (one, *others)}) == 5


def test_the_hash_never_changes_between_versions() -> None:
    table = TriggerTable("PHYSICS", 1, {"A": ["HLT_A*"]}, {"HLT_A1": 2}, "é")
    assert table.canonical == (
        '{"description":"\\u00e9","name":"PHYSICS","origin":null,"prescales":{"HLT_A1":2},'
        '"streams":[["A",["HLT_A*"]]],"tag":1}'
    )


def test_a_table_cannot_be_changed(tmp_path: Path) -> None:
    table: Any = _table(tmp_path)
    with pytest.raises(AttributeError):
        table.tag = 7
    with pytest.raises(TypeError):
        table.streams["MUON"] = ("x",)
    with pytest.raises(TypeError):
        table.prescales["x"] = 3


def test_all_problems_of_a_file_come_at_once(tmp_path: Path) -> None:
    text = (
        'name = "a/b"\ntag = "6"\nstream = 3\n[streams]\nA = "HLT_*"\n"B.C" = ["x"]\nunmerged = ["x"]\nD = []\n'
        '[prescales]\nHLT_X = 0\nHLT_Y = true\nHLT_Z = 2.0\n'
    )  # fmt: skip
    with pytest.raises(TriggerTableError) as caught:
        _table(tmp_path, text)
    keys = {problem["key"] for problem in caught.value.facts["problems"]}
    streams = {"streams.A", "streams.B.C", "streams.unmerged", "streams.D"}
    assert keys == {
        "name",
        "tag",
        "stream",
        *streams,
        "prescales.HLT_X",
        "prescales.HLT_Y",
        "prescales.HLT_Z",
    }
    assert "near: streams" in str(caught.value)
    assert caught.value.where.endswith("table.toml")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name =",
        'name = "T"\ntag = 1\nstreams = 3',
        'name = "T"\ntag = 1\n[streams]',
        'name = "T"\ntag = -1\n[streams]\nA=["x"]',
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(TriggerTableError, match=r"table\.toml"):
        _table(tmp_path, text)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for name in ("absent.toml", "bytes.toml", "."):
        with pytest.raises(TriggerTableError, match=re.escape(str(tmp_path))):
            TriggerTable.from_toml(tmp_path / name)


@pytest.mark.parametrize(
    "part",
    [
        {"streams": [["A", ["x"]], ["A", ["y"]]]},
        {"streams": [["A"]]},
        {"streams": [[["A"], ["x"]]]},
        {"streams": {"A": [3]}},
        {"prescales": [1]},
        {"origin": ["a", "a"]},
        {"extra": 1},
        {"tag": True},
    ],
    ids=str,
)
def test_a_document_that_is_no_table_is_refused(part: dict[str, Any]) -> None:
    document = {"name": "T", "tag": 1, "streams": {"A": ["x"]}}
    TriggerTable.from_json(document)
    with pytest.raises(TriggerTableError):
        TriggerTable.from_json(document | part)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null"])
def test_text_that_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(TriggerTableError):
        TriggerTable.from_json(text)


def test_a_mask_has_room_for_64_streams() -> None:
    streams = {f"S{i}": [f"p{i}"] for i in range(MAX_STREAMS + 1)}
    with pytest.raises(TriggerTableError, match="at most 64"):
        TriggerTable("T", 1, streams)
    del streams["S64"]
    assert TriggerTable("T", 1, streams).resolve([f"p{i}" for i in range(64)]).masks.shape == (64, 1)


_words = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=12)


@given(
    st.dictionaries(
        st.sampled_from(["A", "B", "c_1", "D-2"]), st.lists(_words, min_size=1, max_size=5), min_size=1
    ),
    st.dictionaries(_words, st.integers(1, 2**53), max_size=3),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.none() | st.lists(_words, max_size=5, unique=True),
)
def test_any_table_survives_json_and_toml(
    streams: dict[str, list[str]], prescales: dict[str, int], description: str, origin: list[str] | None
) -> None:
    table = TriggerTable("T", 1, streams, prescales, description, origin)
    assert TriggerTable.from_json(table.canonical) == table
    text = to_toml(table)
    assert text.isascii()
    assert TriggerTable.from_json(tomllib.loads(text)) == table


# -- what a table means for a menu


def test_streams_and_prescales_are_found_by_name(tmp_path: Path) -> None:
    resolved = _table(tmp_path).resolve(MENU)
    assert resolved.paths == ("HLT_Ele27_WPTight_Gsf", "HLT_IsoMu20", "HLT_IsoMu24", "HLT_Mu50_v13")
    assert resolved.stream_names == ("MUON", "ELECTRON")
    assert resolved.masks.tolist() == [[0b1110], [0b0001]]
    assert resolved.prescales.tolist() == [1, 10, 2, 1]
    assert resolved.stream_paths() == {
        "MUON": ("HLT_IsoMu20", "HLT_IsoMu24", "HLT_Mu50_v13"),
        "ELECTRON": ("HLT_Ele27_WPTight_Gsf",),
    }
    assert not resolved.masks.flags.writeable


def test_the_order_of_a_menu_means_nothing(tmp_path: Path) -> None:
    table, shuffled = _table(tmp_path), list(MENU)
    random.Random(1).shuffle(shuffled)
    one, other = table.resolve(MENU), table.resolve(["HLT_New", *shuffled])
    assert one.paths == other.paths
    assert np.array_equal(one.masks, other.masks)
    assert np.array_equal(one.salts, other.salts)
    assert menu_hash(MENU) == menu_hash(shuffled) != menu_hash(["HLT_New", *shuffled])


def test_a_path_is_salted_alike_in_every_table() -> None:
    one = TriggerTable("T", 1, {"A": ["a", "b"]}).resolve(["a", "b"])
    other = TriggerTable("U", 9, {"X": ["b", "c"]}).resolve(["c", "b"])
    assert one.salts[1] == other.salts[0]
    assert len({*one.salts.tolist(), *other.salts.tolist()}) == 3


@pytest.mark.parametrize(
    ("glob", "takes"),
    [
        ("HLT_IsoMu24_v*", ["HLT_IsoMu24", "HLT_IsoMu24_v1", "HLT_IsoMu24_v15"]),
        ("HLT_IsoMu24", ["HLT_IsoMu24"]),
        ("HLT_IsoMu24*", ["HLT_IsoMu24", "HLT_IsoMu24_eta2p1_v3", "HLT_IsoMu24_v1", "HLT_IsoMu24_v15"]),
        ("HLT_IsoMu24_v?", ["HLT_IsoMu24_v1"]),
        ("HLT_IsoMu24_v[0-9]*", ["HLT_IsoMu24_v1", "HLT_IsoMu24_v15"]),
        ("HLT_*_eta2p1_v*", ["HLT_IsoMu24_eta2p1_v3"]),
        ("*veto", ["HLT_IsoMu_veto"]),
        ("HLT_*Mu_v*", []),
        ("hlt_isomu24", []),
    ],
)
def test_globs_take_what_a_physicist_means(glob: str, takes: list[str]) -> None:
    menu = [
        "HLT_IsoMu24_v15",
        "HLT_IsoMu24",
        "HLT_IsoMu24_eta2p1_v3",
        "HLT_IsoMu24_v1",
        "HLT_IsoMu_veto",
        "HLT_B.x",
    ]
    table = TriggerTable("T", 1, {"A": [glob]})
    if takes:
        assert list(table.resolve(menu).paths) == takes
    else:
        with pytest.raises(TriggerTableError):
            table.resolve(menu)


def test_every_glob_without_a_match_is_named_with_near_names() -> None:
    table = TriggerTable(
        "T", 1, {"A": ["HLT_IsoMu42_v*", "HLT_IsoMu*"], "B": ["HLT_Ele72*"]}, {"HLT_PFMET12": 2}
    )
    with pytest.raises(TriggerTableError) as caught:
        table.resolve(MENU)
    problems = caught.value.facts["problems"]
    assert [(p["key"], p["glob"]) for p in problems] == [
        ("streams.A", "HLT_IsoMu42_v*"),
        ("streams.B", "HLT_Ele72*"),
        ("prescales", "HLT_PFMET12"),
    ]
    assert problems[0]["near"][0] == "HLT_IsoMu24"
    assert problems[1]["near"] == ["HLT_Ele27_WPTight_Gsf"]
    assert problems[2]["near"][0] == "HLT_PFMET120"
    assert "HLT_IsoMu24" in str(caught.value)
    assert caught.value.where == "T/1"


def test_a_menu_without_paths_or_with_one_twice_is_refused() -> None:
    table = TriggerTable("T", 1, ONE)
    with pytest.raises(TriggerTableError, match="menu is empty"):
        table.resolve([])
    with pytest.raises(TriggerTableError, match="twice: HLT_A"):
        table.resolve(["HLT_A", "HLT_B", "HLT_A"])


def test_two_globs_must_not_prescale_a_path_differently() -> None:
    streams = {"A": ["HLT_*"]}
    clash = TriggerTable("T", 1, streams, {"HLT_Iso*": 2, "HLT_*20": 3})
    with pytest.raises(TriggerTableError, match="HLT_IsoMu20 is prescaled differently by"):
        clash.resolve(MENU)
    settled = TriggerTable("T", 1, streams, {"HLT_Iso*": 2, "HLT_*20": 3, "HLT_IsoMu20": 5}).resolve(MENU)
    assert dict(zip(settled.paths, settled.prescales.tolist(), strict=True))["HLT_IsoMu20"] == 5
    agreed = TriggerTable("T", 1, streams, {"HLT_Iso*": 2, "HLT_*Mu20": 2}).resolve(MENU)
    assert agreed.prescales.max() == 2


@given(st.data())
def test_a_resolved_table_selects_what_its_names_say(data: st.DataObject) -> None:
    paths = [f"HLT_P{i}" for i in range(data.draw(st.integers(1, 140)))]
    some = st.lists(st.sampled_from(paths), min_size=1, max_size=20, unique=True)
    streams = data.draw(st.lists(some, min_size=1, max_size=8))
    table = TriggerTable("T", 1, {f"S{i}": globs for i, globs in enumerate(streams)})
    resolved = table.resolve(data.draw(st.permutations(paths)))

    fired = data.draw(st.sets(st.sampled_from(paths)))
    words = reference.pack_bits(np.array([[path in fired for path in resolved.paths]]))
    expected = sum(1 << i for i, globs in enumerate(streams) if fired & set(globs))
    assert reference.stream_masks(words, resolved.masks).tolist() == [expected]
    assert resolved.stream_paths() == {f"S{i}": tuple(sorted(globs)) for i, globs in enumerate(streams)}


def test_changes_since_the_origin_are_told_in_words() -> None:
    table = TriggerTable.from_menu(
        "T", 1, ["HLT_Mu8", "HLT_Mu17", "HLT_Ele8"], {"MU": ["HLT_Mu*"], "E": ["HLT_Ele*"]}
    )
    assert table.changes(["HLT_Ele8", "HLT_Mu17", "HLT_Mu8", "HLT_Jet"]) == ()
    assert table.changes(["HLT_Ele8", "HLT_Mu17", "HLT_Mu19"]) == (
        "stream MU lost HLT_Mu8",
        "stream MU gained HLT_Mu19",
    )
    assert TriggerTable("T", 1, ONE).changes(["HLT_X"]) == ()


# -- tables out of menus


def test_families_group_by_leading_word() -> None:
    paths = [
        "HLT_DoubleEle25",
        "HLT_PFHT430",
        "HLT_PFHT_x",
        "HLT_AK8PFJet40",
        "HLT_L1SingleMu",
        "HLT_Mu8",
        "HLT_2x",
        "HLT_",
    ]
    assert {word: len(group) for word, group in families(paths).items()} == {
        "2": 1, "AK8": 1, "Double": 1, "L1": 1, "Mu": 1, "PFHT": 2, "Other": 1,
    }  # fmt: skip


@given(
    st.lists(st.text("AaBbZz09_", max_size=6).map("HLT_".__add__), min_size=1, max_size=60, unique=True),
    st.integers(1, 12),
)
def test_every_path_is_in_exactly_one_family(paths: list[str], limit: int) -> None:
    groups = families(paths, limit=limit)
    assert sorted(path for group in groups.values() for path in group) == sorted(paths)
    assert len(groups) <= max(limit, 1)
    assert groups == families(reversed(paths), limit=limit)


def test_a_table_out_of_a_menu_keeps_it_as_origin() -> None:
    table = TriggerTable.from_menu("FILE", 1, reversed(MENU))
    assert table == TriggerTable.from_menu("FILE", 1, MENU)
    assert table.origin == tuple(sorted(MENU))
    assert set(table.resolve(MENU).paths) == set(MENU)
    own = TriggerTable.from_menu("FILE", 1, MENU, {"MU": ["HLT_*Mu*"]})
    assert own.streams == {"MU": ("HLT_*Mu*",)}
    with pytest.raises(TriggerTableError, match="no path of the menu"):
        TriggerTable.from_menu("FILE", 1, MENU, {"MU": ["HLT_Muon*"]})
    with pytest.raises(TriggerTableError, match="no paths"):
        TriggerTable.from_menu("FILE", 1, [])


# -- what changed between two tables


def test_a_difference_is_told_in_words() -> None:
    old = TriggerTable(
        "T", 1, {"A": ["a", "b"], "B": ["c"], "D": ["d"]}, {"a": 2, "b": 3}, "x", origin=["a", "b"]
    )
    new = TriggerTable(
        "T", 2, {"D": ["d"], "A": ["a", "e*"], "C": ["f"]}, {"a": 4, "c": 5}, "y", origin=["a", "q"]
    )
    assert diff(old, new) == (
        "description: 'x' became 'y'",
        "stream B is gone",
        "stream A lost b",
        "stream A gained e*",
        "stream C is new: f",
        "the order of the streams A, D became D, A",
        "prescale of a: 2 became 4",
        "prescale of b: 3 became none",
        "prescale of c: none became 5",
        "the menu it was made from lost b",
        "the menu it was made from gained q",
    )
    assert diff(old, TriggerTable("U", 3, old.streams, old.prescales, "x", old.origin)) == ()


def test_long_differences_are_cut_and_counted() -> None:
    old = TriggerTable("T", 1, {"A": [f"p{i:02}" for i in range(30)]})
    assert diff(old, TriggerTable("T", 2, {"A": ["p00"]}))[0].endswith("p10 and 19 more")


# -- real menus
