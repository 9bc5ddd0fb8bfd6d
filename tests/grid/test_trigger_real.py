"""Trigger tables on the menus of real files and of a whole year."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING

import pytest

from grid.trigger import TriggerTable
from sitecfg.errors import TriggerTableError

if TYPE_CHECKING:
    from pathlib import Path


@cache
def _hlt(file: Path) -> list[str]:
    import uproot

    with uproot.open(file) as opened:
        return [name for name in opened["Events"].keys() if name.startswith("HLT_")]  # noqa: SIM118


# -- what a table is


@pytest.mark.parametrize("name", ["nano_dy.root", "nano_tt_v15.root", "Run2012B_SingleMu_1000.root"])
def test_a_table_out_of_a_real_file_takes_every_path(real_data: Path, name: str) -> None:
    menu = _hlt(real_data / name)
    table = TriggerTable.from_menu(name.removesuffix(".root"), 1, menu)
    resolved = table.resolve(menu)
    assert resolved.paths == tuple(sorted(menu))
    assert resolved.masks.shape == (len(table.streams), -(-len(menu) // 64))
    assert sum(map(len, resolved.stream_paths().values())) == len(menu)


def test_a_typo_in_a_real_menu_gets_near_names(real_data: Path) -> None:
    menu = _hlt(real_data / "nano_dy.root")
    with pytest.raises(TriggerTableError) as caught:
        TriggerTable("T", 1, {"MU": ["HLT_IsoMu72_v*"], "E": ["HLT_Ele27_WPTigth_Gsf"]}).resolve(menu)
    near = {problem["glob"]: problem["near"] for problem in caught.value.facts["problems"]}
    assert "HLT_IsoMu27" in near["HLT_IsoMu72_v*"]
    assert near["HLT_Ele27_WPTigth_Gsf"][0] == "HLT_Ele27_WPTight_Gsf"


def test_a_menu_of_another_year_is_told_apart_by_name(real_data: Path) -> None:
    one, other = _hlt(real_data / "nano_dy.root"), _hlt(real_data / "nano_tt_v15.root")
    table = TriggerTable.from_menu("T", 1, one, {"ISOMU": ["HLT_IsoMu*"], "ZEROBIAS": ["HLT_ZeroBias"]})
    assert table.changes(reversed(one)) == ()
    words = table.changes(other)
    assert any(sentence.startswith("stream ISOMU lost") for sentence in words)
    assert any(sentence.startswith("stream ISOMU gained") for sentence in words)
    assert set(table.resolve(other).paths) == {
        p for p in other if p.startswith("HLT_IsoMu") or p == "HLT_ZeroBias"
    }


def test_every_cms_path_of_2012_resolves_in_its_primary_dataset(real_data: Path) -> None:
    records = json.loads((real_data.parent / "menus" / "cms-hlt-trigger-paths-2012.json").read_text())
    datasets: dict[str, list[str]] = {}
    menu = []
    for record in records:
        found = re.search(r"information (HLT_\w+) \((\w+) dataset\)", record["title"])
        if found is None:
            continue
        path, dataset = found.groups()
        versions = re.findall(r"<p>V([0-9]+): ", record["abstract"]["description"])
        menu.append(f"{path}_v{versions[-1]}" if versions else path)
        datasets.setdefault(dataset.rstrip("12345678"), []).append(f"{path}_v*")
    assert len(menu) > 400
    table = TriggerTable.from_menu("CMS_2012", 1, menu, datasets)
    resolved = table.resolve(menu)
    assert resolved.paths == tuple(sorted(menu))
    for dataset, paths in resolved.stream_paths().items():
        assert len(paths) == len(datasets[dataset])

    # The file of that year drops the versions, so the same globs name its branches.
    branches = _hlt(real_data / "Run2012B_SingleMu_1000.root")
    known = {path.removesuffix("_v*") for paths in datasets.values() for path in paths}
    assert set(branches) <= known
    ours = {name: [f"{branch}_v*"] for name, branch in zip("ABC", branches, strict=True)}
    assert set(TriggerTable("T", 1, ours).resolve(branches).paths) == set(branches)
