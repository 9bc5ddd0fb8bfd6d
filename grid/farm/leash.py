"""Tie processes to each other, so that none outlives the one that wanted it (Linux).

The kernel does the work: a child asks to be killed when its parent dies, and a parent asks to inherit the
orphans of its descendants, so that it can end them.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

import psutil

__all__ = ["adopt_orphans", "call_me", "die_with_parent", "kill_descendants", "kill_group"]

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(parent: int) -> None:
    """Have the kernel ``SIGKILL`` this process when its parent dies; end at once if it is dead already.

    Parameters
    ----------
    parent
        Process id of who started this process. "Parent" means the *thread* that started it: start children
        from a thread that lives as long as the process.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def call_me(name: str) -> None:
    """Set the name that ``top`` and ``ps -o comm`` show for this process (15 characters of it)."""
    _prctl(_PR_SET_NAME, ctypes.create_string_buffer(name.encode()[:15]))


def kill_group(leader: int) -> None:
    """``SIGKILL`` a process group; nothing happens when it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def kill_descendants(*, spare: frozenset[int] = frozenset()) -> int:
    """``SIGKILL`` everything below this process and return how many there were.

    Parameters
    ----------
    spare
        Children that stay, with everything below them.
    """
    doomed = [child for child in psutil.Process().children() if child.pid not in spare]
    for child in tuple(doomed):
        try:
            doomed += child.children(recursive=True)
        except psutil.NoSuchProcess:
            continue
    for process in doomed:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    return len(doomed)


def _prctl(option: int, value: int | ctypes.Array[ctypes.c_char]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
