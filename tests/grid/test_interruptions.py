"""Whatever is killed in the middle, the production ends right: by itself, or after the same command again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from catalog.engine import Catalog
from grid.cli.exit_codes import INTERRUPTED
from grid.farm.home import Home, read_state
from grid.farm.sweeper import Sweeper
from grid.mock.sample import make_sample
from tests.grid.farm.conftest import alive, processes_of
from tests.grid.house import SETTINGS, House, expected_streams, identities, until
from tests.services.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.farm

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
    def running(self) -> Iterator[subprocess.Popen[str]]:
        """The command, as a shell starts it: with a process group of its own."""
        child = subprocess.Popen(
            [COMMAND, "--home", self.home.root, "run", self.script],
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
        facts = self.house("status", "held-open", "--json").json["report"]
        sets, nowhere, overlap = expected_streams(self.inputs, STREAMS)
        assert (facts["state"], facts["held"]) == ("complete", [])
        assert (facts["events_in"], facts["events_nowhere"], facts["overlap"]) == (800, nowhere, overlap)
        for stream, wanted in sets.items():
            found = identities(self.house.paths(f"cdf:held-open.{stream}"))
            assert len(found) == len(set(found)), "no event twice"
            assert set(found) == wanted
            assert len(self.house.files(f"cdf:held-open.{stream}.unmerged")) == len(self.inputs)
        assert "verdict: the books close" in self.house("audit", "--deep").out
        until(self.nothing_runs, PATIENCE_S)
        self.sweep()

    def sweep(self) -> None:
        """Sweep once, as long after the last lease as it takes; then the pool holds what the catalog knows."""
        with Catalog.open(self.catalog_url) as catalog:
            Sweeper(self.home.pool, age_s=0.0).step(catalog)
        known = {
            Path(url.removeprefix("file://"))
            for one in self.house("ls", "--json").json
            for file in self.house.files(one["dataset"])
            for url in file["urls"]
        }
        assert {path for path in self.home.pool.rglob("*") if path.is_file()} == known - set(self.inputs)
        left = {path for path in self.home.scratch.rglob("*") if path.is_file()}
        assert not {path for path in left if "dask-scratch-space" not in path.parts}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path)
    yield made
    for process in processes_of(made.home):
        process.kill()


def test_the_database_server(tmp_path: Path) -> None:
    server = Postgres(durable=True)
    try:
        scene = Scene(tmp_path, server.make())
        with scene.running() as child:
            scene.until_busy()
            server.kill()
            scene.open_gate()
            told = scene.house("status", code=7).err
            assert "the catalog's database does not answer" in told
            server.start()
            out, err = child.communicate(timeout=PATIENCE_S)
            assert child.returncode == 0, err + out
        scene.prove()
    finally:
        server.stop()


def test_the_catalog_is_lost_and_comes_back_older_than_the_files(scene: Scene, tmp_path: Path) -> None:
    kept = tmp_path / "kept.sqlite"
    with scene.running() as child:
        scene.until_busy()
        scene.house("catalog", "backup", kept)
        scene.finish(child)
    until(scene.nothing_runs, PATIENCE_S)
    before = set(scene.home.pool.rglob("*.root"))
    for path in scene.home.root.glob("catalog.sqlite*"):
        path.unlink()
    scene.house("catalog", "restore", kept)
    scene.house("catalog", "restore", kept, code=8)
    with Catalog.open(scene.catalog_url) as catalog:
        Sweeper(scene.home.pool, age_s=0.0).step(catalog)
    assert set(scene.home.pool.rglob("*.root")) == before, "the sweeper waits"
    dry = scene.house("catalog", "reconcile", "--dry-run", "--json").json
    found = scene.house("catalog", "reconcile", "--json").json
    assert found == dry
    # The two runs that were at it when the backup was taken might still commit, for all that the catalog knows.
    assert found["again"] == {"held-open": len(before) - 2 * len(STREAMS)}
    assert (found["unknown"], found["missing"]) == ({}, [])
    with scene.running() as child:
        scene.finish(child)
    scene.prove()
    assert "sound" in scene.house("catalog", "check").out
    assert not before & set(scene.home.pool.rglob("*.root")), "all of it was made again"


def test_one_process_of_the_farm_after_the_other(scene: Scene) -> None:
    with scene.running() as child:
        before = scene.until_busy()
        scene.until_in_the_code()
        for victim in ("worker-0", "dispatcher", "scheduler", "gateway", "worker-1", "zygote", "supervisor"):
            scene.kill(victim)
            assert child.poll() is None
        now = scene.until_busy()
        assert now != before
        out = scene.finish(child)
    assert "held-open: complete" in out
    scene.prove()
    report = scene.house("status", "held-open", "--json").json["report"]
    assert "payload" not in dict(report["failures"]), "nobody blames the user's code for a kill"


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGINT, id="SIGINT"),
        pytest.param(signal.SIGKILL, id="SIGKILL"),
        pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_the_script(scene: Scene, how: signal.Signals) -> None:
    with scene.running() as child:
        scene.until_busy()
        scene.until_in_the_code()
        os.killpg(child.pid, how)
        _, err = child.communicate(timeout=PATIENCE_S)
    if how == signal.SIGINT:
        assert child.returncode == INTERRUPTED
        assert "the same command continues" in err
    assert "Traceback" not in err
    until(scene.nothing_runs, PATIENCE_S)
    assert scene.house("status", "--json").json["productions"][0]["state"] == "active"
    scene.open_gate()
    with scene.running() as child:
        scene.finish(child)
    scene.prove()


@pytest.mark.slow
def test_the_script_while_the_farm_stays_up(scene: Scene) -> None:
    scene.house("up")
    try:
        with scene.running() as child:
            scene.until_busy()
            os.killpg(child.pid, signal.SIGKILL)
        scene.open_gate()
        until(lambda: scene.house("status", "held-open", "--json").json["state"] == "complete", PATIENCE_S)
    finally:
        scene.house("down")
    scene.prove()


@pytest.mark.slow
@pytest.mark.parametrize(
    "victim", ["worker-0", "scheduler", "dispatcher", "gateway", "zygote", "supervisor", "payload", "all"]
)
def test_one_process_alone(scene: Scene, victim: str) -> None:
    with scene.running() as child:
        before = scene.until_busy()
        scene.until_in_the_code()
        if victim == "payload":
            payloads = [one for one in processes_of(scene.home) if str(scene.home.scratch) in one.cwd()]
            for one in payloads:
                one.kill()
            scene.until_busy(but=before)
        elif victim == "all":
            for one in processes_of(scene.home):
                if one.pid != child.pid:
                    one.kill()
            scene.until_busy(but=before)
        else:
            scene.kill(victim)
            scene.until_busy()
        scene.finish(child)
    scene.prove()


@pytest.mark.slow
def test_again_and_again(scene: Scene) -> None:
    """The command is killed in each phase it gets to, and started again, until it is done."""
    scene.open_gate()
    ended: Any = None
    for attempt in range(40):
        with scene.running() as child:
            seen = len(list(scene.home.pool.rglob("*.root")))

            def moved(child: subprocess.Popen[str] = child, seen: int = seen) -> bool:
                return child.poll() is not None or len(list(scene.home.pool.rglob("*.root"))) > seen

            until(moved, PATIENCE_S)
            ended = child.poll()
            if ended is None:
                os.killpg(child.pid, signal.SIGKILL if attempt % 2 else signal.SIGINT)
                child.communicate(timeout=PATIENCE_S)
        until(scene.nothing_runs, PATIENCE_S)
        if ended is not None:
            break
    assert ended == 0
    scene.prove()
