"""A step that does to its process what a user's code may do, for a payload server that loads this module first."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

#: Under this name a payload finds it.
sys.modules["grid.steps.nasty"] = sys.modules[__name__]


def run(spec: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Do what `spec` names, and return as if nothing had happened."""
    progress(0, 1)
    sys.stdout.write("it begins\n")
    globals()[spec["do"]](spec)
    progress(1, 1)
    return {"survived": spec["do"]}


class Silent(Exception):
    """An exception that can't say what it is."""

    def __str__(self) -> NoReturn:
        raise ZeroDivisionError


class Unpicklable(Exception):
    """An exception that no other process can be given."""

    def __reduce__(self) -> NoReturn:
        raise TypeError


def raises_silence(_: Any) -> NoReturn:
    raise Silent


def raises_what_can_not_travel(_: Any) -> NoReturn:
    raise Unpicklable(threading.Lock(), "odd \udc80 \x1b[31m words")


def raises_at_length(_: Any) -> NoReturn:
    raise RuntimeError("x" * 20_000_000)


def interrupts(_: Any) -> NoReturn:
    raise KeyboardInterrupt


def raises_a_group(_: Any) -> NoReturn:
    raise BaseExceptionGroup("several", [KeyboardInterrupt(), SystemExit(0)])


def recurses(spec: Any) -> None:
    recurses(spec)


def exhausts_the_stack(_: Any) -> None:
    sys.setrecursionlimit(1_000_000_000)
    value: list[Any] = []
    for _turn in range(200_000):
        value = [value]
    repr(value)


# --- what it does to what we use -----------------------------------------------------------------------------------


def _channel() -> socket.socket:
    """The socket on which the payload talks to its worker."""
    for number in range(3, 100):
        try:
            found = socket.socket(fileno=os.dup(number))
        except OSError:
            continue
        if found.family == socket.AF_UNIX and found.type == socket.SOCK_STREAM:
            return found
    raise AssertionError


def talks_nonsense(spec: Any) -> None:
    with _channel() as channel:
        channel.sendall(spec["say"].encode("latin-1") + b"\n")
    time.sleep(30)


def talks_without_end(_: Any) -> None:
    with _channel() as channel:
        while True:
            channel.sendall(b"x" * 1_000_000)


def patches_json(_: Any) -> None:
    json.dumps = lambda *_words, **_how: "what?"


def patches_time(_: Any) -> None:
    time.monotonic = lambda: 0.0


def closes_what_it_prints_to(_: Any) -> None:
    sys.stdout.close()
    sys.stderr = None


def closes_its_output(_: Any) -> None:
    os.close(1)
    os.close(2)


def closes_everything(_: Any) -> None:
    os.closerange(3, 4096)


def moves_about(_: Any) -> None:
    os.chdir("/")
    os.umask(0o777)
    os.environ.clear()
    sys.path.clear()


def ignores_signals(_: Any) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(600)


def sets_an_alarm(_: Any) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    time.sleep(30)


def sends_an_odd_signal(_: Any) -> None:
    os.kill(os.getpid(), 40)
    time.sleep(30)


def holds_the_interpreter(_: Any) -> None:
    import ctypes

    ctypes.PyDLL(None).pause()


def prints_bytes_without_end(_: Any) -> None:
    while True:
        os.write(1, b"\x00\xff\x1b" * 100_000)


def eats_slowly(_: Any) -> None:
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(4096)) * 1000)
        time.sleep(0.005)


# --- what it leaves behind -----------------------------------------------------------------------------------------


def _sleeper(**how: Any) -> int:
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], **how).pid


def _note(*numbers: int) -> None:
    Path("left").write_text(" ".join(map(str, numbers)))


def _daemon(do: Callable[[], None]) -> int:
    """Do something in a process whose parent is gone, in a session of its own."""
    there, back = os.pipe()
    if os.fork() == 0:
        os.setsid()
        child = os.fork()
        if child == 0:
            do()
            os._exit(0)
        os.write(back, str(child).encode())
        os._exit(0)
    os.wait()
    return int(os.read(there, 20))


def leaves_a_crowd(_: Any) -> None:
    _note(
        *(_sleeper(start_new_session=bool(turn % 2)) for turn in range(6)), _daemon(lambda: time.sleep(600))
    )


def leaves_and_crashes(spec: Any) -> None:
    leaves_a_crowd(spec)
    os.kill(os.getpid(), signal.SIGSEGV)


def leaves_threads(_: Any) -> None:
    for _turn in range(5):
        threading.Thread(target=time.sleep, args=[600]).start()


def leaves_a_group(_: Any) -> None:
    with contextlib.suppress(PermissionError):
        os.setpgrp()


def feeds_a_daemon(_: Any) -> None:
    def eat() -> None:
        hoard = bytearray(os.urandom(4096)) * 150_000
        time.sleep(600)
        del hoard

    _note(_daemon(eat))
    time.sleep(600)


def uses_a_pool(_: Any) -> None:
    import multiprocessing

    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1, 2]) == [1, 2]
