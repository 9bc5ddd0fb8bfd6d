"""`grid trigger`: import, list, show, diff, check, from-file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from grid.mock.sample import MENU
from grid.trigger import TriggerTable
from tests.grid.house import House, grid, tree_of

if TYPE_CHECKING:
    from pathlib import Path

TABLE = """
name = "{name}"
tag = {tag}
description = "muons and jets"
[streams]
MUON = ["HLT_Mu17_v*", "HLT_IsoMu24_v*"]
JET = ["HLT_PFJet*"]
[prescales]
"HLT_PFJet80_v*" = 10
"""


def written(folder: Path, name: str = "CLI", tag: int = 1, **changes: str) -> Path:
    text = TABLE.format(name=name, tag=tag)
    for old, new in changes.items():
        assert old in text
        text = text.replace(old, new)
    path = folder / f"{name}_{tag}.toml"
    path.write_text(text)
    return path


def test_import_list_show(house: House, tmp_path: Path) -> None:
    table = written(tmp_path, "LISTED", 7)
    assert "LISTED/7 is known: 2 streams" in house("trigger", "import", table).out
    house("trigger", "import", table)
    (listed,) = [one for one in house("trigger", "list", "--json").json if one["table"] == "LISTED/7"]
    assert listed["hash"] == TriggerTable.from_toml(table).hash
    shown = house("trigger", "show", "LISTED/7", "--json").json
    assert dict(shown["streams"])["JET"] == ["HLT_PFJet*"]
    assert shown["hash"] == listed["hash"]
    out = house("trigger", "show", "LISTED/7").out
    assert "muons and jets" in out
    assert "HLT_PFJet80_v*" in out
    assert "LISTED/7" in house("trigger", "list").out
    assert house("trigger", "show", table, "--json").json == shown


def test_dry_import_changes_nothing(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    house("init")
    table = written(tmp_path)
    before = tree_of(house.home)
    assert "CLI/1 is well formed" in house("trigger", "import", table, "--dry-run").out
    assert tree_of(house.home) == before
    assert house("trigger", "list", "--json").json == []


def test_a_draft_may_change_a_used_table_never(house: House, tmp_path: Path, paths: list[Path]) -> None:
    house("trigger", "import", written(tmp_path, "USED"))
    changed = written(tmp_path, "USED", MUON="LEPTON")
    house("trigger", "import", changed)
    assert dict(house("trigger", "show", "USED/1", "--json").json["streams"]).keys() == {"LEPTON", "JET"}
    (production,) = house.scripted(
        tmp_path / "script",
        f"from grid import Production\np = Production(name='used', input={str(paths[0])!r}, split='USED/1')",
    )
    house.submit(production)
    house("trigger", "import", changed)
    answer = house("trigger", "import", written(tmp_path, "USED"), code=2)
    assert "USED/2" in answer.err
    assert house.watch("used")["state"] == "complete"


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("name = ", "TOML"),
        ('name = "A"\ntag = "one"\n[streams]\nA = ["HLT_*"]\n', "tag"),
        ('name = "A"\n[streams]\nA = ["HLT_*"]\n', "tag"),
        ('name = "A"\ntag = 1\n', "streams"),
        ('name = "A"\ntag = 1\n[streams]\n', "streams"),
        ('name = "A"\ntag = 1\n[streams]\nA = []\n', "A"),
        ('name = "A"\ntag = 1\n[streams]\n"A/B" = ["HLT_*"]\n', "A/B"),
        ('name = "A"\ntag = 1\n[streams]\nA = ["HLT_*"]\n[prescale]\nx = 1\n', "prescale"),
        ('name = "A"\ntag = 1\n[streams]\nA = ["HLT_*"]\n[prescales]\n"HLT_*" = 0\n', "HLT_*"),
    ],
)
def test_tables_that_are_wrong(house: House, tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    answer = house("trigger", "import", path, code=2)
    assert "wrong.toml" in answer.err
    assert word in answer.err


def test_a_table_that_is_not_there(house: House, tmp_path: Path) -> None:
    house("trigger", "import", written(tmp_path, "THERE", 3))
    assert "none.toml" in house("trigger", "import", tmp_path / "none.toml", code=2).err
    assert "THERE/3" in house("trigger", "show", "THERE/4", code=2).err, "near names are told"
    assert "NAME/TAG" in house("trigger", "show", "THERE", code=2).err


def test_diff(house: House, tmp_path: Path) -> None:
    old = written(tmp_path, "DIFF", 1)
    new = written(tmp_path, "DIFF", 2, **{'"HLT_PFJet*"': '"HLT_PFJet*", "HLT_PFMET*"', "= 10": "= 20"})
    lines = house("trigger", "diff", old, new, "--json").json
    assert any("JET" in line and "HLT_PFMET*" in line for line in lines)
    assert any("10" in line and "20" in line for line in lines)
    assert house("trigger", "diff", old, old).out == "no difference\n"
    assert house("trigger", "diff", old, old, "--json").json == []
    house("trigger", "import", old)
    assert house("trigger", "diff", "DIFF/1", new, "--json").json == lines


def test_check(house: House, tmp_path: Path, paths: list[Path]) -> None:
    table = written(tmp_path)
    answer = house("trigger", "check", table, *paths, "--json").json
    assert set(answer) == {str(path) for path in paths}
    assert sorted(answer[str(paths[0])]["paths"]["JET"]) == [
        "HLT_PFJet140_v4",
        "HLT_PFJet320_v2",
        "HLT_PFJet80_v4",
    ]
    assert f"{paths[0]}: fits" in house("trigger", "check", table, paths[0]).out
    typo = written(tmp_path, HLT_Mu17="HLT_Mu71")
    assert "HLT_Mu17_v3" in house("trigger", "check", typo, paths[0], code=2).err
    assert "none.root" in house("trigger", "check", table, tmp_path / "none.root", code=3).err


def test_a_table_from_a_file(tmp_path: Path, paths: list[Path]) -> None:
    made = grid("trigger", "from-file", paths[0], "--name", "OWN").out
    path = tmp_path / "own.toml"
    path.write_text(made)
    grid("trigger", "check", path, *paths)
    table = TriggerTable.from_toml(path)
    assert {name for globs in table.resolve(MENU).stream_paths().values() for name in globs} == set(MENU)
    out = tmp_path / "two.toml"
    words = ("trigger", "from-file", paths[0], "--name", "OWN", "--tag", "2", "-o", out)
    grid(*words, "--stream", "M=HLT_Mu*,HLT_IsoMu*", "--stream", "J=HLT_PFJet*")
    assert dict(TriggerTable.from_toml(out).streams) == {"M": ("HLT_IsoMu*", "HLT_Mu*"), "J": ("HLT_PFJet*",)}
    kept = out.read_bytes()
    grid(*words, code=8)
    assert out.read_bytes() == kept


def test_a_table_from_a_file_refuses_nonsense(tmp_path: Path, paths: list[Path]) -> None:
    assert "NAME=GLOB" in grid("trigger", "from-file", paths[0], "--name", "A", "--stream", "M", code=2).err
    answer = grid("trigger", "from-file", paths[0], "--name", "A", "--stream", "M=HLT_Nothing*", code=2)
    assert "HLT_Nothing*" in answer.err
    assert "none.root" in grid("trigger", "from-file", tmp_path / "none.root", "--name", "A", code=3).err


def test_a_file_without_trigger_bits(real_data: Path) -> None:
    answer = grid("trigger", "from-file", real_data / "Tuple_1.root", "--name", "A", code=2)
    assert "no paths" in answer.err
