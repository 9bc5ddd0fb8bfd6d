"""What happens inside a payload's process: one step, its progress, its result.

It speaks over one socket, a line of JSON each: in comes ``{"kind", "spec", "scratch", "mark", "seed"}``, out go
``{"progress": [done, total]}`` and last ``{"result": …}`` or ``{"error": …}``.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import hashlib
import importlib
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from grid.farm.following import bytes_moved
from sitecfg.errors import GridError, LimitExceeded, NoSpace, NotFound, OutputError, said_by
from sitecfg.points import reach

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable

#: Seconds between two reports of progress.
REPORT_EVERY = 0.05


def run(channel: socket.socket) -> int:
    """Run the step that the channel asks for and return the process's exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    printed = _open_streams()
    faulthandler.enable(sys.stderr)
    # A user's fork that runs on into our code must not answer in our name.
    owner = os.getpid()
    with channel.makefile("r") as lines:
        order = json.loads(lines.readline())
    try:
        answer = {"result": _step(order, channel)}
        text = json.dumps(answer, allow_nan=False)
    except BaseException as error:  # noqa: BLE001 -- told in full to who watches
        _flush(printed)
        printed = _open_streams()
        if not isinstance(error, GridError) or error.__cause__ is not None:
            traceback.print_exc()
        text = json.dumps({"error": in_words(error).to_json()}, default=str)
    if os.getpid() != owner:
        return 1
    reach("payload.done")
    _flush(printed)
    channel.sendall(json.dumps({"io": bytes_moved("self")}).encode() + b"\n" + text.encode() + b"\n")
    return 0


def _open_streams() -> tuple[TextIO, TextIO]:
    """Give this process a stdout and a stderr; the user's code may have closed or replaced those it had."""
    sys.stdout, sys.stderr = _open_stream(1), _open_stream(2)
    return sys.stdout, sys.stderr


def _open_stream(number: int) -> TextIO:
    try:
        return open(number, "w", buffering=1, errors="backslashreplace", closefd=False)
    except OSError:
        return Path(os.devnull).open("w")


def _flush(streams: Iterable[TextIO]) -> None:
    for stream in streams:
        # The user's code closed it: then nothing waits in it.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()


def _step(order: dict[str, Any], channel: socket.socket) -> dict[str, Any]:
    os.chdir(order["scratch"])
    os.environ["TMPDIR"] = tempfile.tempdir = order["scratch"]
    os.environ["MDCGRID_PAYLOAD"] = order["mark"]
    _seed(order["seed"])
    kind = order["kind"]
    try:
        step = importlib.import_module(f"grid.steps.{kind}") if kind.isidentifier() else None
    except ModuleNotFoundError as error:
        if error.name != f"grid.steps.{kind}":
            raise
        step = None
    if step is None or not hasattr(step, "run"):
        raise NotFound("this release has no such step", where=kind, todo="run the same release everywhere")
    reach(f"payload.begun@{kind}")
    result = step.run(order["spec"], _Progress(channel))
    if not isinstance(result, dict):
        msg = f"the step returned {type(result).__name__}, not a dictionary"
        raise TypeError(msg)
    return result


def _seed(text: str) -> None:
    """Seed the generators that modules share; as forked copies they would all give the same numbers."""
    number = int.from_bytes(hashlib.blake2b(text.encode(), digest_size=16).digest())
    random.seed(number)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        words = [number >> shift & 0xFFFF_FFFF for shift in (0, 32, 64, 96)]
        numpy.random.seed(words)


class _Progress:
    """Tells the worker how far the step is; cheap enough to call for every chunk."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._next = 0.0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + REPORT_EVERY
            self._channel.sendall(b'{"progress": [%d, %d]}\n' % (done, total))


def in_words(error: BaseException) -> GridError:
    """Return any error as one of ours; what nobody foresaw becomes the root of the tree, ``internal``."""
    what = f"{type(error).__name__}: {said_by(error)}"
    match error:
        case GridError():
            return error
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return NoSpace(what, where=str(error.filename or ""))
        case OSError() if error.errno is not None:
            return OutputError(what, where=str(error.filename or ""))
        case MemoryError():
            return LimitExceeded(what, todo="give a slot more memory, or make chunks smaller")
        case _:
            return GridError(what, todo="read the last lines of what it printed")
