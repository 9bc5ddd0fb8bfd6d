"""What a user's code may do to the process that runs it: each has a clear end, and the next payload runs as ever."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from grid.farm.payload import Ended, Order, PayloadServer
from grid.farm.watchdog import Limits
from tests.grid.farm.conftest import alive, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.farm

ROOT = Path(__file__).resolve().parents[3]
WIDE = Limits(memory=1_000_000_000, wall_s=60, quiet_s=60)


@pytest.fixture(scope="module")
def server() -> Iterator[PayloadServer]:
    with mock.patch.dict(os.environ, PYTHONPATH=f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"):
        server = PayloadServer(preload=("grid.farm.child", "tests.grid.farm.nasty"))
        yield server
        server.close()


@pytest.fixture
def run(server: PayloadServer, tmp_path: Path) -> Callable[..., Ended]:
    def run(do: str, limits: Limits = WIDE, name: str = "scratch", **spec: str) -> Ended:
        scratch = tmp_path / name
        scratch.mkdir()
        told = {"do": do, **spec}
        return server.run(Order("nasty", told, limits, scratch, tmp_path / f"{name}.log", "job 7 on a.root"))

    return run


@pytest.mark.parametrize(
    ("do", "failure", "said"),
    [
        (
            "raises_silence",
            "internal",
            "Silent: what it says can't be told: its __str__ raised ZeroDivisionError",
        ),
        ("raises_what_can_not_travel", "internal", "Unpicklable"),
        ("raises_at_length", "internal", "19995000 characters left out"),
        ("interrupts", "internal", "KeyboardInterrupt"),
        ("raises_a_group", "internal", "BaseExceptionGroup"),
        ("recurses", "internal", "RecursionError"),
        pytest.param("exhausts_the_stack", "payload", "SIGSEGV", marks=pytest.mark.slow),
        ("patches_json", "payload", "not to be understood"),
        ("closes_everything", "payload", "exit code 1"),
        ("sets_an_alarm", "payload", "SIGALRM"),
        ("sends_an_odd_signal", "payload", "signal 40 (SIGRTMIN+6"),
        ("talks_without_end", "payload", "not to be understood"),
    ],
)
def test_what_ends_a_payload_is_told(run: Callable[..., Ended], do: str, failure: str, said: str) -> None:
    ended = run(do)
    assert ended.result is None
    assert ended.failure == failure
    assert said in str(ended.error)
    assert len(str(ended.error)) < 20_000
    assert "it begins" in ended.last_lines or do == "raises_at_length"


@pytest.mark.parametrize(
    "say",
    [
        "no JSON",
        "\xff\xfe",
        "[]",
        "7",
        "[" * 100_000,
        '{"progress": 5}',
        '{"progress": ["a", 1]}',
        '{"pid": 1}',
        '{"status": 0}',
        '{"result": 3}',
        '{"error": null}',
        '{"io": {"bytes_in": "many"}}',
    ],
)
def test_nonsense_on_the_way_to_the_worker_ends_a_payload(run: Callable[..., Ended], say: str) -> None:
    ended = run("talks_nonsense", say=say)
    assert ended.failure == "payload"
    assert "not to be understood" in str(ended.error)
    assert ended.measured["wall_s"] < 20


@pytest.mark.parametrize(
    "do",
    [
        "closes_what_it_prints_to",
        "closes_its_output",
        "moves_about",
        "patches_time",
        "leaves_threads",
        "leaves_a_group",
        "uses_a_pool",
    ],
)
def test_what_does_no_harm_does_none(run: Callable[..., Ended], do: str) -> None:
    ended = run(do)
    assert ended.error is None, ended.last_lines
    assert ended.result is not None
    assert ended.result["survived"] == do


@pytest.mark.parametrize("do", ["ignores_signals", "holds_the_interpreter", "prints_bytes_without_end"])
def test_what_hangs_is_killed(run: Callable[..., Ended], tmp_path: Path, do: str) -> None:
    ended = run(do, replace(WIDE, quiet_s=0.5))
    assert ended.failure == "stalled"
    assert (tmp_path / "scratch.log").stat().st_size < 2_000_000_000


def test_what_eats_slowly_is_killed(run: Callable[..., Ended]) -> None:
    assert run("eats_slowly", replace(WIDE, memory=200_000_000)).failure == "oom"


@pytest.mark.parametrize(("do", "failure"), [("leaves_a_crowd", ""), ("leaves_and_crashes", "payload")])
def test_nothing_is_left_while_another_payload_lives(
    run: Callable[..., Ended], server: PayloadServer, tmp_path: Path, do: str, failure: str
) -> None:
    """A server with many slots is never without a payload."""
    gate = tmp_path / "gate"
    scratch = tmp_path / "other"
    scratch.mkdir()
    spec = {"attempt": {"runner": "r"}, "touch": str(tmp_path / "begun"), "wait_for": str(gate)}
    other: list[Ended] = []
    order = Order("empty", spec, WIDE, scratch, tmp_path / "other.log", "job 8")
    thread = threading.Thread(target=lambda: other.append(server.run(order)))
    thread.start()
    until((tmp_path / "begun").exists)
    ended = run(do)
    assert ended.failure == failure
    left = [int(one) for one in (tmp_path / "scratch" / "left").read_text().split()]
    assert len(left) == 7
    until(lambda: not any(map(alive, left)), 10)
    gate.touch()
    thread.join()
    assert other[0].error is None


def test_a_daemon_is_counted_with_the_payload_that_started_it(
    run: Callable[..., Ended], tmp_path: Path
) -> None:
    ended = run("feeds_a_daemon", replace(WIDE, memory=400_000_000, wall_s=20))
    assert ended.failure == "oom"
    until(lambda: not alive(int((tmp_path / "scratch" / "left").read_text())))
