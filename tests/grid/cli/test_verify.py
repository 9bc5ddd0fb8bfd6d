"""`grid verify`: a whole file is proven, a bad one is named, and the rest is looked at all the same."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from grid.mock.sample import MENU, SampleFile
from tests.grid.house import flip, grid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_a_whole_file(sample: list[SampleFile]) -> None:
    answer = grid("verify", *(one.path for one in sample), "--json").json
    assert [one["path"] for one in answer] == [str(one.path) for one in sample]
    for one, made in zip(answer, sample, strict=True):
        assert one["bytes"] == made.path.stat().st_size
        assert one["events"] == made.events
        assert one["trees"]["Events"]["entries"] == made.events
        assert one["trees"]["Runs"]["entries"] == 1
        assert sum(section[2] for section in one["sections"]) == made.events
        assert set(one["menu"]) == set(MENU)
        assert len(one["adler32"]) == 8
        assert len(one["fingerprint"]) == 32
    assert len({one["fingerprint"] for one in answer}) == len(answer)


def test_two_answers_are_equal(paths: list[Path]) -> None:
    assert grid("verify", paths[0], "--json").out == grid("verify", paths[0], "--json").out


def test_for_people(paths: list[Path]) -> None:
    out = grid("verify", paths[0]).out
    assert out.startswith(f"ok  {paths[0]}: ")
    assert "Events: TTree, 400 entries" in out
    assert "adler32" in out


def test_the_answer_goes_to_a_file_while_a_bar_is_drawn_on_the_terminal(paths: list[Path]) -> None:
    terminal, shown = pty.openpty()
    command = [sys.executable, "-m", "grid.cli.main", "verify", str(paths[0])]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=shown, check=True, timeout=60)
    os.close(shown)
    os.close(terminal)
    assert done.stdout.startswith(f"ok  {paths[0]}: ".encode())


@pytest.mark.parametrize("depth", ["copied", "sealed"])
def test_lesser_depths_look_at_no_events(paths: list[Path], depth: str) -> None:
    (answer,) = grid("verify", paths[0], "--depth", depth, "--json").json
    assert "fingerprint" not in answer
    assert answer["trees"]["Events"]["entries"] == 400


def _cut(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)


def _flip(path: Path) -> None:
    broken = bytearray(path.read_bytes())
    flip(broken)
    path.write_bytes(broken)


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda path: path.unlink(), "MissingFile"),
        (lambda path: path.write_bytes(b""), "TruncatedFile|NotRootFile"),
        (lambda path: path.write_bytes(b"no root file at all"), "NotRootFile"),
        (_cut, "TruncatedFile"),
        (_flip, "CorruptFile"),
        (lambda path: (path.unlink(), path.mkdir()), "MissingFile|NotRootFile"),
    ],
    ids=["missing", "empty", "text", "truncated", "one bit", "folder"],
)
def test_a_bad_file_among_good_ones(
    tmp_path: Path, paths: list[Path], damage: Callable[[Path], Any], error: str
) -> None:
    bad = tmp_path / "bad.root"
    shutil.copy(paths[0], bad)
    damage(bad)
    answer = grid("verify", bad, paths[1], "--json", code=3).json
    assert answer[0]["error"] in error.split("|")
    assert answer[0]["path"] == str(bad)
    assert answer[1]["events"] == 400
    out = grid("verify", paths[1], bad, code=3).out
    assert f"BAD {bad}" in out
    assert f"ok  {paths[1]}" in out


def test_events_that_are_there_twice(tmp_path: Path, paths: list[Path]) -> None:
    twice = tmp_path / "twice.root"
    grid("merge", twice, paths[0], paths[0], code=4)
    (answer,) = grid("verify", twice, "--json", code=4).json
    assert answer["error"] == "DuplicateEvents"
    assert answer["facts"]["duplicates"]


def test_other_branches_can_identify_events(paths: list[Path]) -> None:
    words = ("verify", paths[0], "--identity", "run", "--identity", "event", "--json")
    (answer,) = grid(*words).json
    assert answer["fingerprint"] != grid("verify", paths[0], "--json").json[0]["fingerprint"]
    (missing,) = grid("verify", paths[0], "--identity", "evnt", "--json", code=3).json
    assert missing["error"] == "MissingIdentity"
    assert "event" in missing["todo"]


def test_a_named_tree_must_be_there(paths: list[Path]) -> None:
    (answer,) = grid("verify", paths[0], "--tree", "Evnts", "--json", code=3).json
    assert answer["where"] == str(paths[0])
    assert "Evnts" in answer["what"]
    assert "Events" in answer["todo"]


def test_an_unknown_depth(paths: list[Path]) -> None:
    assert "depth" in grid("verify", paths[0], "--depth", "deepest", code=2).err


def test_a_file_of_histograms_alone_is_proven_too(real_data: Path) -> None:
    for name in ("uproot-hepdata-example.root", "nano_dy_rntuple.root", "nano_dy_empty.root"):
        (answer,) = grid("verify", real_data / name, "--json").json
        assert answer["bytes"] == (real_data / name).stat().st_size
