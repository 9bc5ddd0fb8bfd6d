"""A home with short times, a gateway, and ways to wait for what should happen."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import psutil
import pytest
from sqlalchemy import select

from catalog import jobs
from catalog.engine import Catalog, create
from catalog.schema_work import attempt, job
from catalog.states import Kind
from grid.farm.home import Home, read_state
from grid.farm.session import Session, attach
from sitecfg.load import load_site

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from grid.farm.client import GatewayClient
    from sitecfg.models import Site

SETTINGS = """
[workers]
executor = "{executor}"
number = 2
slots = {slots}
memory = "1 GB"

[lease]
seconds = "{lease} s"

[retry.payload]
first_delay = "0 s"
longest_delay = "0 s"

[retry.transient]
first_delay = "0.3 s"

[retry.killed]
first_delay = "0 s"
longest_delay = "0 s"
"""


def until(what: Callable[[], Any], seconds: float = 90.0) -> Any:
    """Wait for something to become true and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)
    return answer


class Ledger:
    """A look at the ledger from outside: the jobs of a home, and what became of them."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._made = 0

    def add(self, count: int = 1, **spec: Any) -> list[int]:
        """Make jobs that do nothing but what `spec` says."""
        keys = range(self._made, self._made + count)
        self._made += count
        with self.catalog.write() as tx:
            return jobs.add_jobs(tx, None, Kind.EMPTY, [jobs.NewJob(f"job {key}", (), spec) for key in keys])

    def states(self, numbers: list[int]) -> set[str]:
        with self.catalog.read() as tx:
            return set(tx.execute(select(job.c.state).where(job.c.id.in_(numbers))).scalars())

    def state(self, number: int) -> str:
        return self.states([number]).pop()

    def attempts(self, number: int) -> list[Any]:
        with self.catalog.read() as tx:
            return list(tx.execute(select(attempt).where(attempt.c.job == number).order_by(attempt.c.epoch)))

    def all_done(self, numbers: list[int]) -> bool:
        return self.states(numbers) == {"done"}

    def committed_once(self, numbers: list[int]) -> bool:
        """Whether each job has exactly one attempt that is done."""
        return all(sum(one.outcome == "done" for one in self.attempts(number)) == 1 for number in numbers)


def make_home(root: Path, *, executor: str = "dask", slots: int = 1, lease: float = 60) -> Home:
    """Make a home whose leases are short and whose retries come at once."""
    home = Home(root)
    home.prepare()
    home.settings.write_text(SETTINGS.format(executor=executor, slots=slots, lease=lease))
    return home


def site_of(home: Home) -> Site:
    return load_site(home.root, environ={}).site


def open_ledger(home: Home) -> Ledger:
    return Ledger(Catalog.open(site_of(home).catalog.url))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home", lease=5)


@pytest.fixture(scope="session")
def empty_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalog with nothing in it, to be copied: making one takes longer than most tests."""
    path = tmp_path_factory.mktemp("catalog") / "catalog.sqlite"
    create(f"sqlite:///{path}")
    return path


@pytest.fixture
def ledger(home: Home, empty_catalog: Path) -> Iterator[Ledger]:
    """The ledger of a home without a farm."""
    shutil.copy(empty_catalog, home.catalog)
    found = open_ledger(home)
    yield found
    found.catalog.close()


@pytest.fixture
def gateway(home: Home, ledger: Ledger) -> Iterator[GatewayClient]:
    """A real gateway of the home, in a thread of this process."""
    from grid.farm.client import GatewayClient

    with serve(home, ledger) as address, GatewayClient.at(*address, patience_s=5.0) as client:
        yield client


class serve:  # noqa: N801 -- used like a function
    """Serve a home's ledger from a thread; gives address and token, and can be stopped and started again."""

    def __init__(
        self, home: Home, ledger: Ledger, *, port: int = 0, head_s: float = 20.0, **more: Any
    ) -> None:
        import socket

        from grid.farm.gateway import create_app
        from grid.farm.gateway.serving import server
        from grid.farm.home import write_state

        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.app = create_app(ledger.catalog, "token", site_of(home), **more)
        write_state(home.gateway, {"url": self.url, "port": self.port, "token": "token"})
        self._server = server(self.app, head_s=head_s)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],))

    def __enter__(self) -> tuple[str, str]:
        self._thread.start()
        return self.url, "token"

    def __exit__(self, *_error: object) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


class Farm(NamedTuple):
    """A farm that runs, and a look at its ledger."""

    home: Home
    session: Session
    ledger: Ledger

    def pid(self, name: str, *, other_than: int = 0) -> int:
        """Process id of one of the farm's processes, as soon as it has one (other than an old one)."""

        def find() -> int | None:
            state = (read_state(self.home.farm) or {}).get("children", {}).get(name) or {}
            found: int | None = state.get("pid")
            return found if found and found != other_than and alive(found) else None

        return int(until(find))

    def kill(self, name: str) -> int:
        """``kill -9`` one of the farm's processes; returns the number that it had."""
        number = self.pid(name)
        os.kill(number, signal.SIGKILL)
        return number


@contextmanager
def run_farm(home: Home) -> Iterator[Farm]:
    """Run a home's farm as a script would; nothing of it must be left afterwards."""
    with attach(home.root, "farm") as session:
        ledger = open_ledger(home)
        yield Farm(home, session, ledger)
        ledger.catalog.close()
    until(lambda: not processes_of(home))
    assert not list(home.scratch.iterdir())


def payloads_of(home: Home, scratch: str) -> list[psutil.Process]:
    """The payload processes whose working directory has `scratch` in its name."""
    found = []
    for process in processes_of(home):
        try:
            if scratch in process.cwd():
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


class HeldJob:
    """A job whose payload runs until it is let go."""

    def __init__(self, farm: Farm, folder: Path) -> None:
        self._farm = farm
        self._gate = folder / "gate"
        self._witness = folder / "starts"
        (self.number,) = farm.ledger.add(wait_for=str(self._gate), touch=str(self._witness))
        self.wait_for_start(1)

    def wait_for_start(self, count: int) -> None:
        until(lambda: self._witness.exists() and len(self._witness.read_text().split()) >= count)

    def let_go(self) -> list[str]:
        """Let it end; returns the outcomes of its attempts."""
        self._gate.touch()
        until(lambda: self._farm.ledger.state(self.number) == "done")
        return [one.outcome for one in self._farm.ledger.attempts(self.number)]

    def worker(self) -> str:
        """The name of the process that runs it."""
        return str(self._farm.ledger.attempts(self.number)[-1].worker).split(".")[0]


def works(farm: Farm, seconds: float = 90.0) -> None:
    """New jobs are done."""
    numbers = farm.ledger.add(4)
    until(lambda: farm.ledger.all_done(numbers), seconds)
    assert farm.ledger.committed_once(numbers)


def alive(process: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return psutil.Process(process).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def processes_of(home: Home) -> list[psutil.Process]:
    """Every living process that has to do with a home: by its command line, or by its working directory."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
            inside = process.cwd().startswith(str(home.root))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
        if process.status() != psutil.STATUS_ZOMBIE and (inside or str(home.root) in words):
            found.append(process)
    return found
