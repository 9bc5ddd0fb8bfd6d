"""Every real file gives the right answer, or is refused by name: ``real_files.toml`` says which."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from grid.rootio.merge import MergeOptions, merge
from grid.rootio.split import SplitRecipe, split
from sitecfg import errors

TABLE = tomllib.loads((Path(__file__).parent / "real_files.toml").read_text())["file"]


def do(case: dict[str, Any], source: Path, folder: Path) -> tuple[dict[str, int], int, int]:
    """Return the trees that came out, the duplicates, and how much was left out."""
    say: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in case.get("say", {}).items()
    }
    out = folder / "out.root"
    if case["do"] == "split":
        report = split(source, {"all": out}, SplitRecipe(**say))
        return report.outputs[0].trees, 0, len(report.dropped_branches)
    merged = merge([source, source.parent / case.get("with", source.name)], out, MergeOptions(**say))
    return merged.output.trees, merged.duplicates.events, len(merged.dropped_branches)


@pytest.mark.parametrize(
    "entry",
    [
        pytest.param(entry, id=entry["name"], marks=[pytest.mark.slow] if entry.get("slow") else [])
        for entry in TABLE
    ],
)
def test_each_file_does_what_the_table_says(entry: dict[str, Any], real_data: Path, tmp_path: Path) -> None:
    for number, case in enumerate(entry["cases"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        if "error" in case:
            with pytest.raises(getattr(errors, case["error"]), match=case["words"]) as caught:
                do(case, real_data / entry["name"], folder)
            assert entry["name"] in str(caught.value), "the file is named"
            assert list(folder.iterdir()) == [], "nothing is left behind"
            continue
        found = do(case, real_data / entry["name"], folder)
        assert found == (case["trees"], case.get("duplicates", 0), case.get("left_out", 0)), case


def test_the_table_has_every_file(real_data: Path) -> None:
    manifest = json.loads((real_data / "MANIFEST.json").read_text())
    assert sorted(entry["name"] for entry in TABLE) == sorted(entry["name"] for entry in manifest["entries"])
