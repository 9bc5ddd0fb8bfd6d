"""Attempts a second, from the claim to the commit, with a payload that does nothing.

The peers are Dask without a ledger, and the farm without Dask.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from sqlalchemy import func, select

from catalog import jobs
from catalog.engine import Catalog
from catalog.schema_work import attempt
from catalog.states import Kind
from grid.farm.dispatcher import dispatch
from grid.farm.executors import DaskExecutor
from grid.farm.home import Home, read_state, write_private
from grid.farm.keys import make_pem
from grid.farm.session import attach
from sitecfg.load import load_site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from grid.farm.client import GatewayClient

pytestmark = pytest.mark.farm

#: What a process may grow by however short the run is: caches that fill. Bytes.
SLACK = 8 << 20
#: Threads that speak to the gateway at a time.
SLOTS = 8


class Work:
    """Jobs that do nothing, and a way to know when they are done."""

    def __init__(self, home: Home) -> None:
        self.catalog = Catalog.open(load_site(home.root, environ={}).site.catalog.url)
        self._made = 0

    def add(self, count: int) -> None:
        with self.catalog.write() as tx:
            new = [jobs.NewJob(f"job {self._made + n}", ()) for n in range(count)]
            jobs.add_jobs(tx, None, Kind.EMPTY, new)
        self._made += count

    def done(self) -> int:
        with self.catalog.read() as tx:
            query = select(func.count()).select_from(attempt).where(attempt.c.outcome == "done")
            return tx.execute(query).scalar_one()

    def wait(self, number: int | None = None) -> None:
        """Wait until so many are done, or all; each must have been committed once."""
        deadline = time.monotonic() + 600 + self._made
        while self.done() < (self._made if number is None else number):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert number is not None or self.done() == self._made


@contextmanager
def work(home: Home) -> Iterator[Work]:
    found = Work(home)
    yield found
    found.catalog.close()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def measure(benchmark: BenchmarkFixture, run: Any, count: int) -> None:
    benchmark.extra_info["attempts"] = count
    benchmark.pedantic(run, rounds=1, iterations=1)  # type: ignore[no-untyped-call]


def test_begin_and_commit_through_the_gateway(benchmark: BenchmarkFixture, home: Home, scale: float) -> None:
    """What the ledger and HTTP cost, with several callers at once sharing transactions."""
    count = max(20, int(2000 * scale))
    with attach(home.root) as session, work(home) as ledger:
        ledger.add(count)
        claims = iter(session.client.claim("bench", count))
        lock = threading.Lock()

        def call(client: GatewayClient) -> None:
            while True:
                with lock:
                    claim = next(claims, None)
                if claim is None:
                    return
                runner = str(uuid.uuid4())
                client.begin(*claim, runner, host="bench", pid=1, worker="bench")
                client.commit(*claim, runner, {})

        def run() -> None:
            threads = [threading.Thread(target=call, args=(session.client,)) for _ in range(SLOTS)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

        measure(benchmark, run, count)
        assert ledger.done() == count


ROLE = """
import sys
from pathlib import Path
from grid.farm import cluster, leash, node
from grid.farm.home import Home
from sitecfg.load import load_site
leash.die_with_parent(int(sys.argv[3]))
home = Home(Path(sys.argv[2]))
if sys.argv[1] == "scheduler":
    cluster.run_scheduler(home)
node.settle(node.Node(home, load_site(home.root).site, "bench", inline=True))
cluster.run_worker(home, "bench", int(sys.argv[4]))
"""


@contextmanager
def dask(home: Home) -> Iterator[None]:
    """A scheduler and one worker that runs payloads in its own threads."""
    write_private(home.dask_keys, make_pem())
    with (home.log / "bench.log").open("w") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", ROLE, role, str(home.root), str(os.getpid()), str(SLOTS)], stderr=log
            )
            for role in ("scheduler", "worker")
        ]
        try:
            while read_state(home.dask) is None:
                time.sleep(0.02)
            yield
        finally:
            for process in processes:
                process.kill()
                process.wait()


@pytest.mark.parametrize("way", ["ours", "Dask alone"])
def test_attempts_through_ledger_and_dask(
    benchmark: BenchmarkFixture, home: Home, scale: float, way: str
) -> None:
    """Without payload processes: what the machinery itself can do."""
    count = max(20, int(2000 * scale))
    if way == "ours":
        through_the_ledger(benchmark, home, count)
    else:
        with dask(home), DaskExecutor(home, SLOTS) as executor:
            client = executor._client

            def run() -> None:
                futures = client.map(abs, range(count), pure=False)
                assert client.gather(futures) == [*range(count)]

            measure(benchmark, run, count)


def through_the_ledger(benchmark: BenchmarkFixture, home: Home, count: int) -> None:
    with machinery(home) as ledger:

        def run() -> None:
            ledger.add(count)
            ledger.wait()

        measure(benchmark, run, count)


@contextmanager
def machinery(home: Home) -> Iterator[Work]:
    """A gateway, Dask, and a dispatcher in this process, warm."""
    stop = threading.Event()
    with attach(home.root) as session, work(home) as ledger, dask(home):
        dispatcher = threading.Thread(
            target=dispatch,
            args=(session.client, lambda: DaskExecutor(home, SLOTS)),
            kwargs={"cell": "bench", "name": "bench dispatcher", "stop": stop},
        )
        dispatcher.start()
        ledger.add(SLOTS)
        ledger.wait()
        try:
            yield ledger
        finally:
            stop.set()
            dispatcher.join()


def test_memory_over_many_attempts(benchmark: BenchmarkFixture, home: Home, scale: float) -> None:
    """After a tenth of the attempts no process of the farm grows any more: by less than a byte in ten."""
    count = max(100, int(100_000 * scale))
    with machinery(home) as ledger:
        # All at once, for this process is the dispatcher too, and making them takes memory.
        ledger.add(count)
        ledger.wait(count // 10)
        before = resident(home)
        measure(benchmark, ledger.wait, count - count // 10)
        after = resident(home)
    grown = {name: f"{before[name] >> 20} to {after[name] >> 20} MiB" for name in before}
    benchmark.extra_info["of"] = ", ".join(f"{name} {change}" for name, change in grown.items())
    assert all(after[name] < 1.1 * before[name] + SLACK for name in before), grown


def resident(home: Home) -> dict[str, int]:
    """Return the resident bytes of the processes of a farm, and of this one, which dispatches."""
    found = {"dispatcher": psutil.Process().memory_info().rss}
    for process in psutil.process_iter(["cmdline", "memory_info"]):
        line = process.info["cmdline"] or []
        if str(home.root) in line:
            found[role(line)] = process.info["memory_info"].rss
    assert {"gateway", "scheduler", "worker"} <= set(found), found
    return found


def role(line: list[str]) -> str:
    """Name a process by its command line: ``python -c PROGRAM NAME`` or ``python -m grid.farm.NAME``."""
    if "-m" in line:
        return line[line.index("-m") + 1].rpartition(".")[2]
    return line[line.index("-c") + 2]


@pytest.mark.parametrize("way", ["ours", "the farm without Dask"])
def test_attempts_in_processes_of_their_own(
    benchmark: BenchmarkFixture, home: Home, scale: float, way: str
) -> None:
    """The whole farm as a script gets it: each payload in a process."""
    count = max(20, int(500 * scale))
    executor = "dask" if way == "ours" else "local"
    home.settings.write_text(f'[workers]\nexecutor = "{executor}"\nnumber = 2\nslots = 2\n')
    with attach(home.root, "farm"), work(home) as ledger:
        ledger.add(4)
        ledger.wait()

        def run() -> None:
            ledger.add(count)
            ledger.wait()

        measure(benchmark, run, count)
