"""A home, a script whose jobs stay open until a gate opens, and the proof that all is as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.engine import Catalog
from grid.farm.home import Home, read_state
from grid.farm.sweeper import Sweeper
from grid.mock.sample import make_sample
from tests.grid.farm.conftest import alive, processes_of
from tests.grid.house import SETTINGS, House, expected_streams, identities, until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COMMAND = Path(sys.executable).with_name("grid")
STREAMS = {"MUON": ["HLT_Mu17_v3", "HLT_IsoMu24_v5"], "JET": ["HLT_PFJet80_v4"]}
SCRIPT = """
import time
from pathlib import Path

from grid import Production
from grid.trigger import TriggerTable

GATE = Path({gate!r})

def wait(events, conditions):
    while not GATE.exists():
        time.sleep(0.02)
    return events

production = Production(
    name="held-open", input={inputs!r}, process=wait, split=TriggerTable("PHYSICS", 1, {streams!r}), scope="cdf"
)
"""
#: How long anything may take on a busy machine, seconds.
PATIENCE_S = 90.0


class Scene:
    """A home, a script whose jobs stay open until the gate opens, and the command that runs it."""

    def __init__(self, folder: Path, catalog_url: str | None = None) -> None:
        self.home = Home(folder / "home")
        self.home.prepare()
        self.catalog_url = catalog_url or f"sqlite:///{self.home.catalog}"
        self.home.settings.write_text(f'{SETTINGS}\n[catalog]\nurl = "{self.catalog_url}"\n')
        self.house = House(self.home.root)
        self.gate = folder / "gate"
        self.inputs = [one.path for one in make_sample(folder / "raw", files=4, events=200, seed=11)]
        self.script = folder / "script.py"
        self.script.write_text(
            SCRIPT.format(gate=str(self.gate), inputs=[str(one) for one in self.inputs], streams=STREAMS)
        )

    @contextmanager
    def running(self, more: Mapping[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
        """The command, as a shell starts it: with a process group of its own, and `more` in its environment."""
        child = subprocess.Popen(
            [COMMAND, "--home", self.home.root, "run", self.script],
            env={**os.environ, **(more or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            yield child
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.communicate()

    def open_gate(self) -> None:
        self.gate.touch()

    def attempts(self) -> dict[int, str]:
        """The runs of process jobs that are going on: job and worker."""
        answer = self.house("status", "--json", code=None)
        if answer.code:
            return {}  # the catalog is only just being made
        jobs = {one["job"]: one for one in answer.json["running"]}
        process = [one for one in answer.json["productions"] if one["total"].get("process")]
        if not process or process[0]["done"]["intake"] < len(self.inputs):
            return {}
        return {number: f"{one['worker']}/{one['epoch']}" for number, one in jobs.items()}

    def until_busy(self, *, but: dict[int, str] | None = None) -> dict[int, str]:
        """Wait until both slots wait at the gate, with other runs than some."""
        gone = set((but or {}).items())
        found: dict[int, str] = until(
            lambda: len(now := self.attempts()) == 2 and not gone & set(now.items()) and now, PATIENCE_S
        )
        return found

    def until_in_the_code(self) -> None:
        """Wait until outputs are being written: then the user's code has been called."""
        until(lambda: len({p.name.split("--")[-1] for p in self.home.pool.rglob(".*.root")}) >= 2, PATIENCE_S)

    def pid(self, name: str) -> int | None:
        state = read_state(self.home.farm)
        if state is None or state["stopped"]:
            return None
        number: int | None = (
            state["pid"] if name == "supervisor" else state["children"].get(name, {}).get("pid")
        )
        return number

    def kill(self, name: str) -> int:
        """Kill one of the farm's processes and wait until it has a successor; returns its number."""
        victim = until(lambda: self.pid(name), PATIENCE_S)
        os.kill(victim, signal.SIGKILL)
        until(lambda: not alive(victim), PATIENCE_S)
        until(lambda: self.pid(name) not in (None, victim), PATIENCE_S)
        return int(victim)

    def finish(self, child: subprocess.Popen[str]) -> str:
        """Open the gate and wait for the command's good end."""
        self.open_gate()
        out, err = child.communicate(timeout=PATIENCE_S)
        assert child.returncode == 0, err + out
        return out

    def nothing_runs(self) -> bool:
        return not processes_of(self.home)

    def prove(self) -> None:
        """Prove that all is as if nothing had happened."""
        prove(self.house, "held-open", self.inputs)
        until(self.nothing_runs, PATIENCE_S)
        sweep(self.house, self.catalog_url, self.inputs)


def prove(house: House, production: str, inputs: Sequence[Path]) -> None:
    """Prove that a production has every event where it belongs, and none twice."""
    facts = house("status", production, "--json").json["report"]
    sets, nowhere, overlap = expected_streams(inputs, STREAMS)
    assert (facts["state"], facts["held"]) == ("complete", [])
    events = len(identities(inputs))
    assert (facts["events_in"], facts["events_nowhere"], facts["overlap"]) == (events, nowhere, overlap)
    for stream, wanted in sets.items():
        found = identities(house.paths(f"cdf:{production}.{stream}"))
        assert len(found) == len(set(found)), "no event twice"
        assert set(found) == wanted
        assert len(house.files(f"cdf:{production}.{stream}.unmerged")) == len(inputs)
    assert "verdict: the books close" in house("audit", "--deep").out


def sweep(house: House, catalog_url: str, inputs: Sequence[Path]) -> None:
    """Sweep once, as long after the last lease as it takes; then the pool holds what the catalog knows."""
    home = Home(house.home)
    with Catalog.open(catalog_url) as catalog:
        Sweeper(home.pool, age_s=0.0).step(catalog)
    known = {
        Path(url.removeprefix("file://"))
        for one in house("ls", "--json").json
        for file in house.files(one["dataset"])
        for url in file["urls"]
    }
    assert {path for path in home.pool.rglob("*") if path.is_file()} == known - set(inputs)
    left = {path for path in home.scratch.rglob("*") if path.is_file()}
    assert not {path for path in left if "dask-scratch-space" not in path.parts}
