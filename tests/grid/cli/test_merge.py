"""`grid merge`: files into one, proven, and duplicates told by the exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import uproot

from tests.grid.house import flip, grid, identities, tree_of
from tests.grid.rootio.making import events, write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def rows(path: Path, tree: str) -> list[tuple[int, ...]]:
    with uproot.open(path) as file:
        columns = [branch.array(library="np").tolist() for branch in file[tree].branches]
        return list(zip(*columns, strict=True))


def test_events_keep_the_order_of_the_inputs(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out.root"
    order = [paths[2], paths[0], paths[1]]
    answer = grid("merge", out, *order, "--json").json
    assert identities([out]) == identities(order)
    assert answer["output"]["path"] == str(out)
    assert answer["output"]["events"] == 1200
    assert answer["output"]["bytes"] == out.stat().st_size
    assert [one["events"] for one in answer["inputs"]] == [400, 400, 400]
    assert answer["duplicates"]["events"] == 0
    assert rows(out, "Runs") == [row for path in order for row in rows(path, "Runs")]
    assert [path.name for path in tmp_path.iterdir()] == ["out.root"], "no temporary file stays"


def test_equal_calls_give_equal_bytes(tmp_path: Path, paths: list[Path]) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        grid("merge", tmp_path / name / "out.root", *paths)
    assert (tmp_path / "a/out.root").read_bytes() == (tmp_path / "b/out.root").read_bytes()


def merged_and_loaded(*words: str | Path) -> tuple[str, list[str]]:
    """Merge in a process of its own; return what it says, and which modules it loaded that take long."""
    code = """
import sys
from grid.cli.main import app
app(["merge", *sys.argv[1:]], standalone_mode=False)
print(*{"awkward", "dask", "numba", "pandas", "pydantic", "uproot"} & set(sys.modules), file=sys.stderr)
"""
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr.split()


def test_small_files_are_merged_without_what_takes_long_to_import(tmp_path: Path) -> None:
    for number in (0, 1):
        write(tmp_path / f"in{number}.root", {"Events": events(20, first=20 * number)})
    said, loaded = merged_and_loaded(tmp_path / "out.root", tmp_path / "in0.root", tmp_path / "in1.root")
    assert "40 events of 2 files" in said
    assert loaded == []


def test_a_small_ntuple_is_merged_without_what_takes_long_to_import(tmp_path: Path, real_data: Path) -> None:
    said, loaded = merged_and_loaded(
        tmp_path / "out.root", real_data / "nano_dy_rntuple.root", "--verify", "sealed"
    )
    assert "40 events of 1 files" in said
    assert loaded == []


def test_halves_put_together_again_have_each_row_once(tmp_path: Path, paths: list[Path]) -> None:
    grid("merge", tmp_path / "one.root", paths[0])
    grid("merge", tmp_path / "two.root", tmp_path / "one.root", paths[1])
    assert identities([tmp_path / "two.root"]) == identities(paths[:2])
    assert rows(tmp_path / "two.root", "LuminosityBlocks") == [
        row for path in paths[:2] for row in rows(path, "LuminosityBlocks")
    ]


def test_streams_that_overlap_do_not_double_luminosity(tmp_path: Path, paths: list[Path]) -> None:
    table = tmp_path / "t.toml"
    table.write_text('name = "T"\ntag = 1\n[streams]\nM = ["HLT_Mu17*"]\nI = ["HLT_IsoMu24*"]\n')
    grid("split", paths[0], "-t", table, "-o", tmp_path / "out")
    found = sorted((tmp_path / "out").iterdir())
    grid("merge", tmp_path / "both.root", *found, code=4)
    assert rows(tmp_path / "both.root", "Runs") == rows(paths[0], "Runs")
    assert rows(tmp_path / "both.root", "LuminosityBlocks") == rows(paths[0], "LuminosityBlocks")
    grid("merge", tmp_path / "concat.root", *found, "--side", "concat", code=4)
    assert rows(tmp_path / "concat.root", "Runs") == 2 * rows(paths[0], "Runs")


def test_events_that_occur_twice(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out.root"
    answer = grid("merge", out, paths[0], paths[1], paths[0], "--json", code=4).json
    assert answer["duplicates"]["events"] == 400
    run, section, event = identities([paths[0]])[0]
    assert f"run {run}, luminosityBlock {section}, event {event}" in answer["duplicates"]["first"][0]
    assert len(identities([out])) == 1200
    told = grid("merge", tmp_path / "b.root", paths[0], paths[0], code=4).out
    assert told.count("400 events occur more than once") == 1


def test_a_folder_that_is_not_there_is_named_with_the_output(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "none" / "out.root"
    said = grid("merge", out, *paths, "--json", code=8)
    assert json.loads(said.err)["where"] == str(out)


def test_duplicates_refused(tmp_path: Path, paths: list[Path]) -> None:
    before = tree_of(tmp_path)
    out = tmp_path / "out.root"
    assert "more than once" in grid("merge", out, paths[0], paths[0], "--duplicates", "refuse", code=4).err
    assert tree_of(tmp_path) == before


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--duplicates", "maybe"], 2),
        (["--side", "left"], 2),
        (["--format", "csv"], 2),
        (["--compression", "zip:3"], 2),
        (["--identity", "nothing"], 3),
        (["--tree", "Nothing"], None),
        (["--frobnicate"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_options(tmp_path: Path, paths: list[Path], words: Sequence[str], code: int | None) -> None:
    answer = grid("merge", tmp_path / "out.root", *paths, *words, code=code)
    assert answer.code in (2, 3)
    assert words[0].strip("-") in answer.err or words[-1] in answer.err
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out.root"
    out.write_text("mine")
    assert str(out) in grid("merge", out, *paths, code=8).err
    assert tree_of(tmp_path) == {"out.root": b"mine"}
    out.unlink()
    out.symlink_to(tmp_path / "nowhere")
    grid("merge", out, *paths, code=8)
    assert out.is_symlink()


@pytest.mark.parametrize("what", ["missing", "text", "one bit", "truncated"])
def test_a_bad_input_is_named_and_leaves_nothing(tmp_path: Path, paths: list[Path], what: str) -> None:
    bad = tmp_path / "bad.root"
    # zlib carries a checksum in each block; zstd as ROOT writes it does not, so a changed value there is a value.
    grid("split", paths[1], "-o", tmp_path / "zlib", "--compression", "zlib:1")
    (source,) = (tmp_path / "zlib").iterdir()
    whole = bytearray(source.read_bytes())
    if what == "text":
        bad.write_text("hello")
    elif what == "one bit":
        flip(whole)
        bad.write_bytes(whole)
    elif what == "truncated":
        bad.write_bytes(whole[: len(whole) // 2])
    before = tree_of(tmp_path)
    assert "bad.root" in grid("merge", tmp_path / "out.root", paths[0], bad, paths[2], code=3).err
    assert tree_of(tmp_path) == before


def test_into_a_folder_that_is_not_there(tmp_path: Path, paths: list[Path]) -> None:
    answer = grid("merge", tmp_path / "nowhere" / "out.root", *paths, code=8)
    assert "nowhere" in answer.err


def test_dry_run_changes_nothing(tmp_path: Path, paths: list[Path]) -> None:
    out = tmp_path / "out.root"
    answer = grid("merge", out, *reversed(paths), "--dry-run", "--json").json
    assert answer == {"output": str(out), "inputs": [path.as_uri() for path in reversed(paths)]}
    assert paths[0].name in grid("merge", out, *paths, "--dry-run").out
    assert not list(tmp_path.iterdir())


def test_globs_in_their_order(tmp_path: Path, paths: list[Path]) -> None:
    grid("merge", tmp_path / "out.root", paths[2], paths[0].with_name("sample_000[01].root"))
    assert identities([tmp_path / "out.root"]) == identities([paths[2], paths[0], paths[1]])


def test_other_schemas_are_refused_by_name(tmp_path: Path, paths: list[Path]) -> None:
    grid("split", paths[1], "-o", tmp_path, "--keep", "drop MET_pt")
    answer = grid("merge", tmp_path / "out.root", paths[0], tmp_path / f"{paths[1].stem}.all.root", code=3)
    assert "MET_pt" in answer.err


def test_real_files_of_other_menus_are_refused(tmp_path: Path, real_data: Path) -> None:
    out = tmp_path / "out.root"
    answer = grid("merge", out, real_data / "nano_dy.root", real_data / "nano_tt_v15.root", code=3)
    assert "nano_tt_v15.root" in answer.err
    assert "another trigger menu" in answer.err
    assert (
        "RNTuple"
        in grid("merge", out, real_data / "nano_dy.root", real_data / "nano_dy_rntuple.root", code=3).err
    )
    assert not out.exists()


def test_real_files_one_of_them_empty(tmp_path: Path, real_data: Path) -> None:
    out = tmp_path / "out.root"
    grid("merge", out, real_data / "nano_dy.root", real_data / "nano_dy_empty.root")
    with uproot.open(out) as file:
        assert file["Events"].num_entries == 40
        assert file["Runs"].num_entries == 1


def test_large_outputs_are_cut_between_inputs(tmp_path: Path, paths: list[Path]) -> None:
    size = paths[0].stat().st_size + paths[1].stat().st_size
    plan = grid("merge", tmp_path / "o.root", *paths, "--max-size", f"{size}B", "--dry-run", "--json").json
    assert [len(one["inputs"]) for one in plan] == [2, 1]
    answers = grid("merge", tmp_path / "o.root", *paths, "--max-size", f"{size}B", "-j", "1", "--json").json
    assert [one["output"]["events"] for one in answers] == [800, 400]
    assert identities([tmp_path / "o-1.root", tmp_path / "o-2.root"]) == identities(paths)
    refused = grid("merge", tmp_path / "o.root", *paths, "--max-size", f"{size}B", code=8)
    assert "o-1.root" in refused.err


def test_the_compression_of_the_inputs_can_be_asked_for_by_name(tmp_path: Path, paths: list[Path]) -> None:
    grid("merge", tmp_path / "one.root", *paths)
    grid("merge", tmp_path / "two.root", *paths, "--compression", "keep")
    assert (tmp_path / "one.root").read_bytes() == (tmp_path / "two.root").read_bytes()
