"""ROOT itself compares what became of real CMS files with the originals, value by value."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from grid.rootio.facts import file_facts
from grid.rootio.merge import merge
from grid.rootio.source import open_source
from grid.rootio.split import SplitRecipe, split
from grid.trigger import TriggerTable

pytestmark = [
    pytest.mark.judge,
    pytest.mark.skipif(find_spec("ROOT") is None, reason="ROOT is not installed"),
]
DUMP = Path(__file__).parent / "root_dump.py"
FILES = [
    "Run2012B_SingleMu_1000.root",
    "nano_dy_empty.root",
    pytest.param("nano_tt_v15.root", marks=pytest.mark.slow),
]


def dump(path: Path, out: Path, tree: str = "Events") -> list[dict[str, Any]]:
    """What ROOT reads: a line per branch, with one string of bytes per entry."""
    command = [sys.executable, str(DUMP), str(path), tree, str(out)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr, done.stderr
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def take(events: Any, part: slice) -> Any:
    return events[part]


@pytest.mark.parametrize("name", ["nano_dy.root", *FILES])
def test_streams_hold_what_the_file_held(real_data: Path, tmp_path: Path, name: str) -> None:
    table = TriggerTable(name="T", tag=1, streams={"mu": ("HLT_*Mu*",)})
    split(real_data / name, {"mu": tmp_path / "mu.root"}, SplitRecipe(table=table))
    paths = table.resolve(file_facts(real_data / name).menu).paths
    before, after = (
        dump(real_data / name, tmp_path / "before"),
        dump(tmp_path / "mu.root", tmp_path / "after"),
    )
    values = {line["name"]: line["values"] for line in before}
    chosen = [i for i, _ in enumerate(values["run"]) if any(values[path][i] != "00" for path in paths)]
    for line in before:
        line["values"] = [line["values"][i] for i in chosen]
    assert after == before


@pytest.mark.parametrize("name", [pytest.param("nano_dy.root", marks=pytest.mark.slow), *FILES])
def test_halves_put_together_are_the_file(real_data: Path, tmp_path: Path, name: str) -> None:
    with open_source(real_data / name) as source:
        middle = source.info("Events").entries // 2
    cuts = {"first": slice(None, middle), "second": slice(middle, None)}
    for half, part in cuts.items():
        split(real_data / name, {"all": tmp_path / half}, SplitRecipe(conditions=part), process=take)
    report = merge([tmp_path / half for half in cuts], tmp_path / "whole.root")
    facts = file_facts(real_data / name)
    assert (report.output.events, report.output.fingerprint, report.output.trees) == (
        facts.events,
        facts.fingerprint,
        facts.trees,
    )
    for tree in facts.trees:
        before = dump(real_data / name, tmp_path / "before", tree)
        assert dump(tmp_path / "whole.root", tmp_path / "after", tree) == before
