"""A home in which a production is complete and no farm runs any more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.grid.house import SETTINGS, House

SCRIPT = """
from grid import Production
from grid.trigger import TriggerTable

def cut(events, conditions):
    return events[events.MET_pt > 20]

production = Production(
    name="pass1",
    input={inputs!r},
    process=cut,
    split=TriggerTable("PHYSICS", 3, {{"MUON": ["HLT_Mu17_v*", "HLT_IsoMu24_v*"], "JET": ["HLT_PFJet80_v*"]}}),
    merge="1 GB",
    scope="cdf",
)
"""
STREAMS = {"MUON": ["HLT_Mu17_v3", "HLT_IsoMu24_v5"], "JET": ["HLT_PFJet80_v4"]}


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory, paths: list[Path]) -> Path:
    path = tmp_path_factory.mktemp("script") / "pass1.py"
    path.write_text(SCRIPT.format(inputs=[str(path) for path in paths]))
    return path


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, script: Path) -> tuple[House, str]:
    """The home, and what `grid run` printed."""
    home = tmp_path_factory.mktemp("finished") / "home"
    home.mkdir()
    (home / "grid.toml").write_text(SETTINGS)
    done = subprocess.run(
        [Path(sys.executable).with_name("grid"), "--home", home, "run", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return House(home), done.stdout


@pytest.fixture
def done(finished: tuple[House, str]) -> House:
    return finished[0]
