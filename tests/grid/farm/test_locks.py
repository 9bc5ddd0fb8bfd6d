"""Locks that the kernel drops when their holder dies."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from grid.farm.locks import FileLock

if TYPE_CHECKING:
    from pathlib import Path

HOLDER = """
import sys
from pathlib import Path
from grid.farm.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
print(lock.alone(), flush=True)
sys.stdin.read()
"""


def test_many_share_or_one_is_alone(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with FileLock(path) as first, FileLock(path) as second, FileLock(path) as third:
        assert first.shared()
        assert second.shared()
        assert not third.alone()
        first.free()
        second.close()
        assert third.alone()
        assert not first.shared(patience_s=0.05)


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    with FileLock(path) as lock:
        assert not lock.alone()
        holder.kill()
        holder.communicate()
        assert lock.alone()
