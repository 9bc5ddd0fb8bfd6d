"""A home, a production of many small jobs, the command that runs it, and looks at both from outside."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil

from catalog.engine import Catalog, create
from grid.farm.home import Home, read_state
from grid.farm.sweeper import Sweeper
from grid.mock.sample import make_sample
from tests.grid.chaos.auditor import Case, audit
from tests.grid.chaos.sql import Sql
from tests.grid.farm.conftest import alive, processes_of
from tests.grid.house import SETTINGS, House, until
from tests.grid.scene import COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

STREAMS = {
    "MUON": ["HLT_Mu17_v3", "HLT_IsoMu24_v5"],
    "JET": ["HLT_PFJet80_v4"],
    "MET": ["HLT_PFMET120_v6", "HLT_DoubleMu8_v2"],
}
SCRIPT = """
import time

from grid import Production
from grid.trigger import TriggerTable

def with_muons(events, conditions):
    time.sleep({pause_s!r})
    return events[events.nMuon > 0]

production = Production(
    name="chaos",
    input={inputs!r},
    process=with_muons,
    split=TriggerTable("PHYSICS", 1, {streams!r}),
    scope="cdf",
)
"""
#: Three outputs make a merged file, so that a production has many merges.
MERGES = """
[merge]
max_inputs = 3
"""
#: How long anything may take on a busy machine, seconds.
PATIENCE_S = 90.0
#: How long a whole production may take there, with all that happens to it.
LONG_S = 280.0


def with_muons(event: Mapping[str, Any]) -> bool:
    """What the script's code keeps, said again."""
    return bool(event["nMuon"] > 0)


class Stage:
    """A production of ``files`` raw files: so many intakes and process jobs, and as many merges with three streams.

    Parameters
    ----------
    folder
        Where everything lies.
    url
        The catalog's; a SQLite file in the home if not given.
    files, events
        How many raw files, and how many events in each.
    lease_s
        How long leases last.
    workers
        How many workers, and how many slots each of them has.
    pause_s
        How long the user's code does nothing, as an attempt that has to last some time.
    pool
        Where outputs lie; in the home if not given.
    more
        Further settings.
    """

    def __init__(
        self,
        folder: Path,
        url: str | None = None,
        *,
        files: int,
        events: int = 40,
        lease_s: float = 4,
        workers: tuple[int, int] = (2, 1),
        pause_s: float = 0.0,
        pool: Path | None = None,
        more: str = "",
    ) -> None:
        self.home = Home(folder / "home")
        self.home.prepare()
        self.url = url or f"sqlite:///{self.home.catalog}"
        create(self.url)  # so that it can be asked from the beginning
        self.sql = Sql(self.url)
        self.pool = pool or self.home.pool
        self.settings = SETTINGS + MERGES + more
        for shipped, wanted in {
            'seconds = "6 s"': f'seconds = "{lease_s} s"',
            "[pool]": f'[pool]\npath = "{self.pool}"',
            "number = 2\nslots = 1": f"number = {workers[0]}\nslots = {workers[1]}",
        }.items():
            assert shipped in self.settings
            self.settings = self.settings.replace(shipped, wanted)
        self.home.settings.write_text(f'{self.settings}\n[catalog]\nurl = "{self.url}"\n')
        self.house = House(self.home.root)
        self.inputs = [one.path for one in make_sample(folder / "raw", files=files, events=events, seed=11)]
        self.lease_s = lease_s
        self._command: subprocess.Popen[str] | None = None
        self.script = folder / "script.py"
        self.script.write_text(
            SCRIPT.format(
                pause_s=pause_s,
                inputs=[str(one) for one in self.inputs],
                streams=STREAMS,
            )
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """The command, as a shell starts it; nothing of it is left afterwards."""
        self._command = child = subprocess.Popen(
            [COMMAND, "--home", self.home.root, "run", self.script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            yield
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            if child.stdout is not None:
                child.stdout.close()
            for process in processes_of(self.home):
                process.kill()

    def until(self, what: Callable[[], Any], seconds: float = PATIENCE_S) -> Any:
        """Wait for something that happens while the command runs, and return it."""
        assert self._command is not None
        command = self._command

        def happens() -> Any:
            assert command.poll() is None, f"the command has ended: {command.communicate()[0]}"
            return what()

        return until(happens, seconds)

    def let_pass(self, leases: float, since: float) -> None:
        """Wait until so many leases have gone by since a moment (Unix time)."""
        self.until(lambda: time.time() > since + leases * self.lease_s)

    def until_done(self, count: int) -> None:
        """Wait until so many jobs are done."""
        self.until(lambda: self.done() >= count)

    def finish(self) -> str:
        """Wait for the command's good end, which nobody helps to reach, and have the books audited."""
        assert self._command is not None
        out, _ = self._command.communicate(timeout=LONG_S)
        assert self._command.returncode == 0, out
        until(lambda: not processes_of(self.home), PATIENCE_S)
        self.sweep()
        assert audit(self.case()) == []
        return out

    def sweep(self) -> None:
        """Sweep once, as long after the last lease as it takes."""
        with Catalog.open(self.url) as catalog:
            Sweeper(self.pool, age_s=0.0).step(catalog)

    def case(self) -> Case:
        """What the auditor is told."""
        return Case(
            self.sql,
            "chaos",
            self.pool,
            self.inputs,
            STREAMS,
            kept=with_muons,
            columns=["nMuon"],
        )

    def done(self) -> int:
        """How many jobs are done."""
        ((count,),) = self.sql.rows("SELECT count(*) FROM job WHERE state = 'done'")
        return int(count)

    def pid(self, name: str) -> int:
        """The number of one of the farm's processes, as soon as it has one that lives."""

        def find() -> int | None:
            state = read_state(self.home.farm)
            if state is None or state["stopped"]:
                return None
            number: int | None = (
                state["pid"] if name == "supervisor" else state["children"].get(name, {}).get("pid")
            )
            return number if number and alive(number) else None

        return int(self.until(find))

    def payloads(self, worker: str) -> dict[int, tuple[int, int]]:
        """The payloads that a worker has at this moment: job and epoch by process number."""
        found = {}
        try:
            for process in psutil.Process(self.pid(worker)).children(recursive=True):
                place = process.cwd()
                if str(self.home.scratch) in place:
                    job, epoch, _ = place.rsplit("/", 1)[1].split(".")
                    found[process.pid] = int(job), int(epoch)
        except (psutil.NoSuchProcess, ValueError):
            return {}  # it has just ended
        return found
