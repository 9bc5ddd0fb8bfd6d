"""A worker on another machine, which has a token and an outgoing connection, and is cut off again and again."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest

from grid.farm.home import Home, read_state, write_state
from tests.grid.chaos.network import NEAR, Network, Relay, network
from tests.grid.chaos.stage import Stage
from tests.grid.chaos.strikes import Key, under_way

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.farm, pytest.mark.slow, pytest.mark.timeout(400)]

WORKER = """
import importlib
import sys
from pathlib import Path

from grid.farm.zygote import PRELOAD

for module in PRELOAD:
    importlib.import_module(module)

from grid.farm.processes import run

sys.exit(run("worker", Path(sys.argv[1]), "far"))
"""


@contextmanager
def far_worker(stage: Stage, net: Network, folder: Path) -> Iterator[None]:
    """A worker in the far namespace with a home of its own; it shares the disk with the farm, and no address."""
    gateway, scheduler = (Relay(partial(_port, where)) for where in (stage.home.gateway, stage.home.dask))
    home = Home(folder)
    home.prepare()
    home.settings.write_text(stage.settings)
    home.scripts.rmdir()
    home.scripts.symlink_to(stage.home.scripts)
    home.dask_keys.write_bytes(stage.home.dask_keys.read_bytes())
    known = read_state(stage.home.gateway) or {}
    write_state(home.gateway, {**known, "url": f"http://{NEAR}:{gateway.port}", "port": gateway.port})
    write_state(home.dask, {"address": f"tls://{NEAR}:{scheduler.port}", "port": scheduler.port})
    with (home.log / "worker.log").open("w") as log:
        child = subprocess.Popen(
            ["ip", "netns", "exec", net.far, sys.executable, "-P", "-c", WORKER, home.root],
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        child.kill()
        child.wait()
        gateway.close()
        scheduler.close()


def _port(path: Path) -> int:
    """The port of a state file; none that is any use when the farm has ended."""
    return int((read_state(path) or {}).get("port", 0))


def done_by_far(stage: Stage) -> int:
    """How many jobs the far worker has done."""
    rows = stage.sql.rows("SELECT count(*) FROM attempt WHERE worker = 'far' AND outcome = 'done'")
    return int(rows[0][0])


def lost(stage: Stage) -> set[Key]:
    """The attempts that were lost."""
    return {
        (job, epoch) for job, epoch in stage.sql.rows("SELECT job, epoch FROM attempt WHERE outcome = 'lost'")
    }


def cut_off(stage: Stage, net: Network, part: float) -> tuple[float, frozenset[Key]]:
    """Cut the far worker off for a part of the lease; returns when, and the attempts that it had then.

    They have ended when this returns, so that nothing else becomes of them by a cut that follows.
    """
    before = done_by_far(stage)
    stage.until(lambda: done_by_far(stage) > before)
    busy: frozenset[Key] = frozenset()
    while not busy:
        stage.until(lambda: under_way(stage.sql, "far"))
        net.cut()
        cut = time.time()
        busy = under_way(stage.sql, "far")
        if busy:
            stage.let_pass(part, cut)
        net.heal()
    stage.until(lambda: not busy & under_way(stage.sql, "far"))
    return cut, busy


def test_a_worker_that_is_cut_off(tmp_path: Path, report: Callable[..., None]) -> None:
    # One local worker: then of any two jobs the far one gets one.
    stage = Stage(tmp_path, files=60, lease_s=2, workers=(1, 2), pause_s=0.5)
    with network() as net, stage.running():
        stage.until_done(3)
        with far_worker(stage, net, tmp_path / "far"):
            cuts = [(0.1, *cut_off(stage, net, 0.1))]
            # what it had may have been committed when the cut came: then nothing was cut off
            while not any(part > 1 and busy & lost(stage) for part, _, busy in cuts):
                cuts.append((3.0, *cut_off(stage, net, 3.0)))
            cuts += [(part, *cut_off(stage, net, part)) for part in (0.9, 0.1)]
            stage.finish()
    rows = stage.sql.rows("SELECT job, epoch, worker, outcome, ended FROM attempt")
    ended = {(job, epoch): (outcome, at) for job, epoch, _, outcome, at in rows}
    for part, cut, busy in cuts:
        for outcome, at in map(ended.__getitem__, busy):
            if part < 0.5:
                assert outcome == "done", "a short cut costs nothing"
            if part > 1:
                assert outcome == "lost" or at < cut + stage.lease_s, "others had the job long before"
    far = sum(worker == "far" and outcome == "done" for _, _, worker, outcome, _ in rows)
    report(f"a worker cut off for 0.1, 0.9 and 3 leases: {far} of {len(rows)} attempts were its own")
