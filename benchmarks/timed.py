"""Run commands, one after the other, and print how long they took and what the largest needed of memory, as JSON.

A program of its own, and a small one: the peak of a process counts what it was before it became another program.
It reads a list of objects with ``command``, ``environ`` and, if what it prints goes to a file, ``stdout``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def main(parts: list[dict[str, Any]]) -> None:
    """Run them; leave with the status of the first that fails."""
    seconds, peak = 0.0, 0
    for part in parts:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        files = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, part.get("stdout", os.devnull), flags, 0o644),
        ]
        begun = time.perf_counter()
        child = os.posix_spawnp(part["command"][0], part["command"], part["environ"], file_actions=files)
        _, status, used = os.wait4(child, 0)
        seconds += time.perf_counter() - begun
        peak = max(peak, used.ru_maxrss << 10)
        if status:
            sys.exit(os.waitstatus_to_exitcode(status) % 256)
    print(json.dumps({"seconds": seconds, "peak": peak}))


main(json.load(sys.stdin))
