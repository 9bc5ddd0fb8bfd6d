"""`grid split`: streams by trigger bit out of files, without a home."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import uproot

from grid.mock.sample import MENU
from tests.grid.house import expected_streams, flip, grid, identities, tree_of

if TYPE_CHECKING:
    from pathlib import Path

STREAMS = {"MUON": ["HLT_Mu17_v3", "HLT_IsoMu24_v5"], "JET": ["HLT_PFJet80_v4", "HLT_PFJet140_v4"]}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "physics.toml"
    lines = [f"{name} = {json.dumps(globs)}" for name, globs in STREAMS.items()]
    path.write_text('name = "PHYSICS"\ntag = 1\n[streams]\n' + "\n".join(lines) + "\n")
    return path


def test_streams_hold_the_events_that_fired(tmp_path: Path, paths: list[Path], table: Path) -> None:
    out = tmp_path / "out"
    answer = grid("split", *paths, "-t", table, "-o", out, "--json").json
    assert sorted(path.name for path in out.iterdir()) == sorted(
        f"{path.stem}.{stream}.root" for path in paths for stream in STREAMS
    )
    for path in paths:
        sets, nowhere, overlap = expected_streams([path], STREAMS)
        report = answer[path.as_uri()]
        for stream, wanted in sets.items():
            found = identities([out / f"{path.stem}.{stream}.root"])
            assert set(found) == wanted
            assert len(found) == len(wanted)
        assert sum(book["events"] for book in report["books"] if book["mask"] == 0) == nowhere
        assert report["overlap"] == overlap


def test_without_a_table_all_events_go_to_one_stream(tmp_path: Path, paths: list[Path]) -> None:
    grid("split", paths[0], "-o", tmp_path / "out")
    (out,) = (tmp_path / "out").iterdir()
    assert out.name == f"{paths[0].stem}.all.root"
    assert identities([out]) == identities([paths[0]])


def test_a_table_is_checked_against_the_file(tmp_path: Path, paths: list[Path]) -> None:
    typo = tmp_path / "typo.toml"
    typo.write_text('name = "PHYSICS"\ntag = 1\n[streams]\nMUON = ["HLT_IsoMu42_v5"]\n')
    answer = grid("split", paths[0], "-t", typo, "-o", tmp_path / "out", code=2)
    assert "HLT_IsoMu42_v5" in answer.err
    assert "HLT_IsoMu24_v5" in answer.err, "near names are told"
    assert not list((tmp_path / "out").rglob("*.root"))


def test_rules_for_branches(tmp_path: Path, paths: list[Path]) -> None:
    words = (
        "--keep",
        "drop Muon_*",
        "--keep",
        "drop nMuon",
        "--keep",
        "keep Muon_pt",
        "--keep",
        "keep nMuon",
    )
    grid("split", paths[0], "-o", tmp_path / "out", *words)
    (out,) = (tmp_path / "out").iterdir()
    with uproot.open(out) as file, uproot.open(paths[0]) as source:
        names, before = set(file["Events"].keys()), set(source["Events"].keys())
    assert names == before - {"Muon_eta", "Muon_phi", "Muon_charge"}
    assert (
        "drop Mum_*" in grid("split", paths[0], "-o", tmp_path / "other", "--keep", "drop Mum_*", code=2).err
    )


def test_compression(tmp_path: Path, paths: list[Path]) -> None:
    for name, wanted in (("zlib:1", uproot.ZLIB(1)), ("lz4:4", uproot.LZ4(4)), ("none", None)):
        folder = tmp_path / name.replace(":", "")
        grid("split", paths[0], "-o", folder, "--compression", name)
        (out,) = folder.iterdir()
        with uproot.open(out) as file:
            assert file["Events"]["event"].compression == wanted
        assert identities([out]) == identities([paths[0]])
    assert "zip:9" in grid("split", paths[0], "-o", tmp_path / "no", "--compression", "zip:9", code=2).err


def test_dry_run_changes_nothing(tmp_path: Path, paths: list[Path], table: Path) -> None:
    before = tree_of(tmp_path)
    answer = grid("split", *paths, "-t", table, "-o", tmp_path / "out", "--dry-run", "--json").json
    assert tree_of(tmp_path) == before
    assert {one["stream"] for one in answer} == set(STREAMS)
    assert len(answer) == len(paths) * len(STREAMS)
    assert "JET" in grid("split", *paths, "-t", table, "-o", tmp_path / "out", "--dry-run").out
    assert tree_of(tmp_path) == before


def test_nothing_is_overwritten(tmp_path: Path, paths: list[Path], table: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / f"{paths[1].stem}.JET.root").write_text("mine")
    before = tree_of(tmp_path)
    assert "mine" not in grid("split", *paths, "-t", table, "-o", out, code=8).err
    assert tree_of(tmp_path) == before


def test_an_output_folder_that_is_a_file(tmp_path: Path, paths: list[Path]) -> None:
    (tmp_path / "out").write_text("mine")
    for out in (tmp_path / "out", tmp_path / "out" / "below"):
        answer = grid("split", paths[0], "-o", out, code=8)
        assert answer.err.startswith("Output")
        assert str(out) in answer.err
    assert (tmp_path / "out").read_text() == "mine"


def test_a_bad_input_leaves_nothing_behind(tmp_path: Path, paths: list[Path], table: Path) -> None:
    broken = bytearray(paths[0].read_bytes())
    flip(broken)
    bad = tmp_path / "bad.root"
    bad.write_bytes(broken)
    answer = grid("split", bad, "-t", table, "-o", tmp_path / "out", code=3)
    assert answer.err.startswith("CorruptFile")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("name", ["none.root", "none*.root", "."], ids=["path", "glob", "folder"])
def test_a_missing_input(tmp_path: Path, name: str) -> None:
    answer = grid("split", tmp_path / name, "-o", tmp_path / "out", code=3)
    assert str(tmp_path / name).rstrip("/.") in answer.err
    assert not (tmp_path / "out").exists()


def test_files_of_one_name_in_two_folders(tmp_path: Path, paths: list[Path]) -> None:
    for name, path in zip("ab", paths, strict=False):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.root").write_bytes(path.read_bytes())
    grid("split", tmp_path / "*" / "x.root", "-o", tmp_path / "out")
    found = sorted((tmp_path / "out").iterdir())
    assert len(found) == 2
    assert sorted(identities(found)) == sorted(identities(paths[:2]))


def test_a_table_of_no_file_and_no_name(tmp_path: Path, paths: list[Path]) -> None:
    assert "NAME/TAG" in grid("split", paths[0], "-t", "PHYSICS", "-o", tmp_path / "out", code=2).err
    missing = tmp_path / "none.toml"
    assert str(missing) in grid("split", paths[0], "-t", missing, "-o", tmp_path / "out", code=2).err


def test_more_streams_than_a_mask_has_bits(tmp_path: Path, paths: list[Path]) -> None:
    many = tmp_path / "many.toml"
    path = next(iter(MENU))
    many.write_text(
        'name = "MANY"\ntag = 1\n[streams]\n' + "".join(f'S{i} = ["{path}"]\n' for i in range(65))
    )
    assert "64" in grid("split", paths[0], "-t", many, "-o", tmp_path / "out", code=2).err


@pytest.mark.parametrize("how", [[], ["--format", "ttree"]])
def test_an_rntuple_stays_one_unless_trees_are_asked_for(
    tmp_path: Path, real_data: Path, how: list[str]
) -> None:
    source = real_data / "nano_dy_rntuple.root"
    grid("split", source, "-o", tmp_path / "out", *how)
    (out,) = (tmp_path / "out").iterdir()
    assert identities([out]) == identities([real_data / "nano_dy.root"])
    with uproot.open(out) as file:
        assert file.classname_of("Events") == ("TTree" if how else "ROOT::RNTuple")
