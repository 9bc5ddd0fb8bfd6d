"""How payloads end, and what is told about it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from grid.farm import following
from grid.farm.payload import Ended, Order, PayloadServer
from grid.farm.watchdog import Limits
from sitecfg.errors import CorruptFile, LimitExceeded, NotFound, PayloadDied
from tests.grid.farm.conftest import alive, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.farm

WIDE = Limits(memory=1_000_000_000, wall_s=60, quiet_s=60)


@pytest.fixture(scope="module")
def server() -> Iterator[PayloadServer]:
    server = PayloadServer(preload=("numpy", "grid.farm.child", "grid.steps.empty"))
    yield server
    server.close()


@pytest.fixture
def order(tmp_path: Path) -> Order:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    spec = {"attempt": {"runner": "r1", "scratch": str(scratch)}}
    return Order("empty", spec, WIDE, scratch, tmp_path / "output.log", "job 7 epoch 1")


def run(server: PayloadServer, order: Order, limits: Limits = WIDE, **spec: Any) -> Ended:
    return server.run(replace(order, spec={**order.spec, **spec}, limits=limits))


def test_a_step_that_returns_gives_its_result_and_what_it_used(server: PayloadServer, order: Order) -> None:
    ended = run(server, order, result={"x": [1, 2]})
    assert ended.error is None
    assert ended.result is not None
    assert ended.result["x"] == [1, 2]
    assert ended.result["measured"]["cpu_s"] > 0
    assert ended.result["measured"]["peak_rss"] > 1_000_000
    assert ended.result["measured"]["wall_s"] > 0


def test_what_a_payload_prints_is_kept(server: PayloadServer, order: Order) -> None:
    ended = run(server, order, print="héllo\nworld", fail="CorruptFile")
    assert ended.last_lines.splitlines()[:2] == ["héllo", "world"]
    assert order.output.read_text().startswith("héllo\nworld")


def test_an_error_of_ours_comes_back_as_it_was(server: PayloadServer, order: Order) -> None:
    ended = run(server, order, fail="CorruptFile")
    assert isinstance(ended.error, CorruptFile)
    assert ended.failure == "corrupt"
    assert ended.error.where == "empty"


def test_an_unforeseen_error_is_told_with_its_traceback(server: PayloadServer, order: Order) -> None:
    ended = run(server, order, touch="/nonexistent/folder/file")
    assert ended.failure == "destination-bad"
    ended = run(server, order, allocate="much")
    assert ended.failure == "internal"
    assert "ValueError" in str(ended.error)
    assert "Traceback" in ended.last_lines


def test_a_result_that_json_cannot_carry_is_a_failure(server: PayloadServer, order: Order) -> None:
    ended = run(server, order, bad_result=True)
    assert ended.failure == "internal"
    assert "JSON" in str(ended.error)


def test_a_step_that_does_not_exist_is_a_failure(server: PayloadServer, order: Order) -> None:
    for kind in ("nothing", "../../etc", "recipe"):
        ended = server.run(replace(order, kind=kind))
        assert isinstance(ended.error, NotFound)


@pytest.mark.parametrize(
    ("number", "failure"),
    [
        (signal.SIGSEGV, "payload"),
        (signal.SIGABRT, "payload"),
        (signal.SIGKILL, "killed"),
        (signal.SIGTERM, "killed"),
    ],
)
def test_a_signal_is_told_in_words(
    server: PayloadServer, order: Order, number: signal.Signals, failure: str
) -> None:
    ended = run(server, order, print="before", signal=int(number))
    assert isinstance(ended.error, PayloadDied)
    assert ended.failure == failure
    assert number.name in str(ended.error)
    assert "peak memory" in str(ended.error)
    assert "job 7 epoch 1" in str(ended.error)
    assert ended.last_lines.startswith("before")


@pytest.mark.parametrize("code", [0, 3])
def test_leaving_without_a_result_is_a_failure(server: PayloadServer, order: Order, code: int) -> None:
    ended = run(server, order, exit=code)
    assert ended.failure == "payload"
    assert f"exit code {code}" in str(ended.error)


def test_too_much_memory_ends_a_payload(server: PayloadServer, order: Order) -> None:
    ended = run(server, order, replace(WIDE, memory=200_000_000), allocate=400_000_000)
    assert isinstance(ended.error, LimitExceeded)
    assert ended.failure == "oom"
    assert "workers.memory" in ended.error.todo
    assert ended.measured["peak_rss"] > 200_000_000


def test_too_much_wall_time_ends_a_payload(server: PayloadServer, order: Order) -> None:
    ended = run(server, order, replace(WIDE, wall_s=0.3), wait_for="/nonexistent", steady=True)
    assert ended.failure == "timeout"


def test_no_progress_ends_a_payload_and_progress_does_not(server: PayloadServer, order: Order) -> None:
    short = replace(WIDE, quiet_s=0.5)
    ended = run(server, order, short, wait_for="/nonexistent")
    assert ended.failure == "stalled"
    gate = order.scratch / "gate"
    threading.Timer(1.2, gate.touch).start()
    assert run(server, order, short, wait_for=str(gate), steady=True).error is None


def test_progress_is_passed_on(server: PayloadServer, order: Order) -> None:
    heard: list[tuple[int, int]] = []
    assert server.run(order, tell=lambda done, total: heard.append((done, total))).error is None
    assert heard[0] == (0, 1)


def test_an_abandoned_payload_is_killed(server: PayloadServer, order: Order) -> None:
    spec = {**order.spec, "wait_for": "/nonexistent"}
    ended = server.run(replace(order, spec=spec), abandoned=lambda: True)
    assert ended.failure == "lease"


def test_many_payloads_run_at_once(server: PayloadServer, order: Order) -> None:
    ended: list[Ended] = []
    threads = [
        threading.Thread(target=lambda n=n: ended.append(run(server, order, result={"n": n})))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(one.result["n"] for one in ended if one.result) == list(range(8))


def test_a_large_spec_and_a_large_result_fit(server: PayloadServer, order: Order) -> None:
    ended = run(server, order, result={"text": "x" * 3_000_000})
    assert ended.result is not None
    assert len(ended.result["text"]) == 3_000_000


def test_endless_output_is_cut(server: PayloadServer, order: Order) -> None:
    ended = run(
        server,
        order,
        replace(WIDE, wall_s=0.6),
        print="x" * (following.OUTPUT_LIMIT + 100),
        wait_for="/nonexistent",
    )
    assert ended.failure == "timeout"
    assert order.output.stat().st_size < 100_000


def test_a_dead_forkserver_is_told_and_replaced(order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOK_EVERY_S", 0.01)
    server = PayloadServer(preload=())
    ended: list[Ended] = []
    thread = threading.Thread(target=lambda: ended.append(run(server, order, wait_for="/nonexistent")))
    thread.start()
    (forkserver,) = until(psutil.Process().children)[-1:]
    payload = until(forkserver.children)[0]
    until(lambda: payload.cpu_times().user > 0.05)
    forkserver.kill()
    thread.join(10)
    assert ended[0].failure == "killed"
    assert ended[0].measured["cpu_s"] > 0, "the forkserver can't tell any more; what was seen last counts"
    until(lambda: not alive(payload.pid))
    assert run(server, order).error is None
    server.close()


@pytest.mark.parametrize("asleep", ["forkserver", "payload"])
def test_what_hangs_beyond_reach_is_given_up(
    order: Order, asleep: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slot must not wait for ever for a process that neither starts nor dies."""
    monkeypatch.setattr(following, "START_S", 0.5)
    monkeypatch.setattr(following, "DEATH_S", 0.5)
    server = PayloadServer(preload=())
    assert server.run(order).error is None
    forkserver = psutil.Process().children()[-1]
    if asleep == "forkserver":
        forkserver.suspend()
        ended = run(server, order)
        assert "could not be started" in str(ended.error)
    else:
        # It is killed, but nobody is awake to say so.
        gate = threading.Timer(0.3, forkserver.suspend)
        gate.start()
        ended = run(server, order, replace(WIDE, wall_s=0.8), wait_for="/nonexistent")
        assert ended.failure == "timeout"
        forkserver.resume()
    assert run(server, order).error is None
    server.close()


WORKER = """
import sys, threading
from pathlib import Path
from grid.farm.payload import Order, PayloadServer
from grid.farm.watchdog import Limits
place = Path(sys.argv[1])
server = PayloadServer(preload=())
spec = {"attempt": {"runner": "r", "scratch": str(place)}, "spawn": sys.argv[2], "wait_for": "/nonexistent"}
server.run(Order("empty", spec, Limits(10**9, 60, 60), place, place / "log", "job 1"))
"""


@pytest.mark.parametrize("how", ["child", "daemon"])
def test_a_killed_worker_leaves_nothing_behind(tmp_path: Path, how: str) -> None:
    """Neither the payload, nor what the payload started, in whatever session."""
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(tmp_path), how])
    spawned = tmp_path / "spawned"
    until(lambda: spawned.exists() and spawned.read_text())
    family = psutil.Process(worker.pid).children(recursive=True)
    assert len(family) >= 2
    worker.kill()
    worker.wait()
    until(lambda: not alive(int(spawned.read_text())))
    until(lambda: not any(alive(one.pid) for one in family))


def test_a_payload_that_ends_takes_its_children_along(server: PayloadServer, order: Order) -> None:
    for how in ("child", "daemon"):
        assert run(server, order, spawn=how).error is None
        spawned = int((order.scratch / "spawned").read_text())
        until(partial(_dead, spawned))


def _dead(process: int) -> bool:
    return not alive(process)


def test_unseeded_random_numbers_belong_to_the_job(server: PayloadServer, order: Order) -> None:
    """Every attempt of a job draws the same, every other job others."""
    drawn = []
    for seed in ("a", "a", "b"):
        ended = server.run(replace(order, spec={**order.spec, "random": True}, seed=seed))
        assert ended.result is not None
        drawn.append(tuple(ended.result["random"]))
    assert drawn[0] == drawn[1]
    assert not set(drawn[0]) & set(drawn[2])


def test_the_payload_knows_that_it_is_one(server: PayloadServer, order: Order) -> None:
    ended = run(server, order, environ=["MDCGRID_PAYLOAD", "TMPDIR"])
    assert ended.result is not None
    assert ended.result["environ"] == ["job 7 epoch 1", str(order.scratch)]
    assert "MDCGRID_PAYLOAD" not in os.environ
