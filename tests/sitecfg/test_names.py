from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sitecfg.errors import BadName
from sitecfg.names import (
    Name,
    check_production,
    check_stream,
    declared_files,
    merged_file,
    near,
    output_dataset,
    output_file,
    physical_name,
    unmerged_dataset,
)

_ANY = "ABCxyz019_.-"
_names = st.builds(str.__add__, st.sampled_from("AZaz09"), st.text(_ANY, max_size=198))
_streams = st.builds(str.__add__, st.sampled_from("AZaz09"), st.text("Aa0_-", max_size=58)).filter(
    lambda name: "--" not in name and name != "unmerged"
)
_productions = st.builds(str.__add__, st.sampled_from("AZaz09"), st.text("Aa0_.-", max_size=99)).filter(
    lambda name: "--" not in name
)


@given(st.text("ABCxyz019_", min_size=1, max_size=25), _names)
def test_a_legal_name_is_read_back_from_its_text(scope: str, name: str) -> None:
    assert Name.parse(str(Name(scope, name))) == Name(scope, name)


@given(st.text(max_size=30), st.text(max_size=220))
def test_a_name_is_a_safe_file_name_or_refused(scope: str, name: str) -> None:
    try:
        made = Name(scope, name)
    except BadName:
        return
    assert len(made.scope) <= 25
    assert len(made.name) <= 200
    for part in (made.scope, made.name):
        assert part.isascii()
        assert not set(part) & set("/\\: \0\n*?")
        assert part not in {"", ".", ".."}
        assert not part.startswith((".", "-"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("noscope", "scope:name"),
        (":x", "empty"),
        ("cdf:", "empty"),
        ("cdf:a/b", "contains '/'"),
        ("cdf:a:b", "contains ':'"),
        ("cdf:a b", "contains ' '"),
        ("cdf:é", "contains 'é'"),
        ("..:x", "begin"),
        ("cdf:-x", "begin with '-'"),
        ("cdf:x\n", "contains"),
        (f"{'s' * 26}:x", "at most 25"),
        (f"cdf:{'x' * 201}", "at most 200"),
    ],
)
def test_a_bad_name_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(BadName) as caught:
        Name.parse(text)
    assert why in str(caught.value)


def test_names_of_a_production_read_well() -> None:
    assert str(output_dataset("cdf", "reco-3.6.0-pass1", "A")) == "cdf:reco-3.6.0-pass1.A"
    assert str(unmerged_dataset("cdf", "reco-3.6.0-pass1", "A")) == "cdf:reco-3.6.0-pass1.A.unmerged"
    assert output_file("reco-pass1", "A", "raw_0001.root") == "reco-pass1.A--raw_0001.root"
    assert merged_file("reco-pass1", "A", ["x.root"], 3).startswith("reco-pass1.A.0003-")
    assert physical_name("reco-pass1.A--x.root", 2, "5f0c71aa" * 4) == "reco-pass1.A--x.root.e2.5f0c71aa.root"


_triples = st.tuples(_productions, _streams, _names)


@given(st.lists(_triples, min_size=2, max_size=6, unique=True))
def test_no_two_outputs_get_one_name(triples: list[tuple[str, str, str]]) -> None:
    made = [output_file(*triple) for triple in triples]
    assert len(set(made)) == len(made)
    for name in made:
        Name("scope", name)


def test_outputs_that_look_alike_stay_apart() -> None:
    triples = [
        ("a", "B", "C.x.root"),
        ("a.B", "C", "x.root"),
        ("a", "B", "x"),
        ("a", "B", "x.root"),
        ("a", "B", "x.root.root"),
        ("a", "B-", "x.root"),
        ("a", "B", f"{'x' * 190}1.root"),
        ("a", "B", f"{'x' * 190}2.root"),
        ("a", "B", f"{'x' * 190}2.r0ot"),
    ]
    assert len({output_file(*triple) for triple in triples}) == len(triples)


@given(_productions, _streams, st.lists(_names, min_size=1, max_size=4), st.integers(0, 10**6))
def test_every_name_made_is_legal_and_leaves_room_for_the_bytes(
    production: str, stream: str, inputs: list[str], number: int
) -> None:
    made = [output_file(production, stream, name) for name in inputs]
    made.append(merged_file(production, stream, inputs, number))
    made.append(unmerged_dataset("s", production, stream).name)
    for name in made:
        assert Name("s", name).name == name
        assert len(physical_name(name, 2**31, "0123456789abcdef")) <= 255


@given(st.lists(_names, min_size=1, max_size=4), st.lists(_names, min_size=1, max_size=4))
def test_a_merged_file_is_named_by_its_inputs(one: list[str], other: list[str]) -> None:
    assume(one != other)
    assert merged_file("p", "A", one, 1) == merged_file("p", "A", list(one), 1)
    assert merged_file("p", "A", one, 1) != merged_file("p", "A", other, 1)


def test_datasets_of_two_productions_never_meet() -> None:
    with pytest.raises(BadName, match="unmerged"):
        output_dataset("s", "p.A", "unmerged")
    with pytest.raises(BadName, match="'\\.'"):
        check_stream("A.unmerged")
    with pytest.raises(BadName, match="--"):
        check_production("p--q")


def test_a_start_token_or_epoch_that_cannot_name_bytes_is_refused() -> None:
    for epoch, runner in ((-1, "5f0c71aa"), (1, "short"), (1, "../../..")):
        with pytest.raises(BadName):
            physical_name("x.root", epoch, runner)


def test_files_of_others_are_named_by_the_last_part_of_their_place() -> None:
    names = declared_files(["file:///data/a/nano_dy.root", "https://host/x.root?sig=1"])
    assert names == {"file:///data/a/nano_dy.root": "nano_dy.root", "https://host/x.root?sig=1": "x.root"}


def test_files_of_others_with_one_last_part_get_names_of_their_own() -> None:
    places = ["/a/1.root", "/b/1.root", "/a/2.root", "/a/odd name.root", "/a/odd_name.root", "/a/.hidden"]
    names = declared_files(places)
    assert list(names) == places
    assert len(set(names.values())) == len(places)
    assert names["/a/2.root"] == "2.root"
    assert names["/a/odd_name.root"] == "odd_name.root"
    assert names["/b/1.root"].startswith("1-")
    assert names["/b/1.root"].endswith(".root")
    assert names == declared_files(reversed(places))


@given(st.lists(st.text(min_size=1), max_size=8))
def test_any_place_gets_a_legal_name_of_its_own(places: list[str]) -> None:
    names = declared_files(places)
    assert len(set(names.values())) == len(set(places))
    for name in names.values():
        Name("scope", name)


def test_near_names_are_what_a_person_meant() -> None:
    menu = ["HLT_IsoMu24", "HLT_IsoMu24_eta2p1", "HLT_Ele27_WPTight_Gsf", "HLT_PFMET120", "L1_SingleMu22"]
    assert near("HLT_IsoMu42", menu)[0] == "HLT_IsoMu24"
    assert near("hlt_isomu24", menu)[0] == "HLT_IsoMu24"
    assert near("Ele27", menu) == ["HLT_Ele27_WPTight_Gsf"]
    assert near("zzzzzz", menu) == []
    assert near("", menu) == []
    assert len(near("HLT", [f"HLT_{i}" for i in range(100)], limit=3)) == 3
