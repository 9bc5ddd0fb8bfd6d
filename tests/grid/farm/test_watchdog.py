"""When a payload has gone too far."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from grid.farm.watchdog import Limits, judge, memory_of
from tests.grid.farm.conftest import until

LIMITS = Limits(memory=1_000_000, wall_s=100.0, quiet_s=10.0)


def verdict(memory: int = 0, wall_s: float = 0.0, quiet_s: float = 0.0) -> str | None:
    found = judge(LIMITS, memory=memory, wall_s=wall_s, quiet_s=quiet_s)
    return found.failure if found else None


def test_what_stays_within_its_limits_is_left_alone() -> None:
    assert verdict(1_000_000, 100.0, 10.0) is None


def test_each_limit_has_its_failure_and_memory_comes_first() -> None:
    assert verdict(memory=1_000_001) == "oom"
    assert verdict(wall_s=100.1) == "timeout"
    assert verdict(quiet_s=10.1) == "stalled"
    assert verdict(1_000_001, 100.1, 10.1) == "oom"


def test_the_sentence_names_what_was_used_and_what_was_allowed() -> None:
    found = judge(LIMITS, memory=2_000_000, wall_s=0, quiet_s=0)
    assert found is not None
    assert found.what == "it used 2 MB of memory; a slot has 1 MB"
    assert "workers.memory" in found.todo


def test_memory_counts_a_process_and_its_children() -> None:
    script = "import sys; held = bytearray(b'x') * 50_000_000; print('ready', flush=True); sys.stdin.read()"
    before = memory_of(os.getpid(), limit=1 << 60)
    child = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    child.stdout.readline()
    alone = memory_of(child.pid, limit=1 << 60)
    assert alone >= 50_000_000
    assert memory_of(os.getpid(), limit=1 << 60) >= before + 45_000_000
    # Above the limit shared pages are counted once, so the sum can only shrink.
    assert 50_000_000 <= memory_of(child.pid, limit=1) <= alone
    child.communicate("")
    until(lambda: memory_of(child.pid, limit=1) == 0)


def test_memory_of_a_process_that_ends_meanwhile() -> None:
    """One that is there when its tasks are looked for may be gone when they are listed."""
    for _ in range(300):
        process = os.posix_spawn("/bin/true", ["true"], {})
        reaper = threading.Thread(target=os.waitpid, args=(process, 0))
        reaper.start()
        while reaper.is_alive():
            memory_of(process, limit=1 << 60)
        reaper.join()
        assert memory_of(process, limit=1 << 60) == 0
