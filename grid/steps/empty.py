"""A step that does nothing, or misbehaves when asked to: for measuring the farm and for testing it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sitecfg import errors

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["run"]


def run(spec: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Do nothing, unless `spec` asks for more.

    Parameters
    ----------
    spec
        Optional keys, in the order in which they are obeyed: ``print`` (text), ``touch`` (file to append the
        start token to), ``wait_for`` (path of a file; returns when it exists; ``steady`` progress meanwhile),
        ``allocate`` (bytes), ``fail`` (the name of an error class, raised), ``signal`` (number, sent to
        itself), ``exit`` (code, leaves without a result), ``bad_result`` (returns what JSON can't carry),
        ``result`` (returned).
    progress
        Called with ``(done, total)``.
    """
    progress(0, 1)
    if "print" in spec:
        print(spec["print"])  # noqa: T201 -- printing is what is tested
    if "touch" in spec:
        with Path(spec["touch"]).open("a") as out:
            out.write(f"{spec['attempt']['runner']}\n")
    if "wait_for" in spec:
        _wait_for(Path(spec["wait_for"]), progress if spec.get("steady") else None)
    if "allocate" in spec:
        held = bytearray(os.urandom(4096)) * (int(spec["allocate"]) // 4096)
        _wait_for(Path(spec["attempt"]["scratch"]) / "never", progress)
        del held
    if "fail" in spec:
        raise getattr(errors, spec["fail"])("the spec asked for it", where="empty")
    if "signal" in spec:
        os.kill(os.getpid(), signal.Signals(spec["signal"]))
    if "exit" in spec:
        os._exit(spec["exit"])
    if "bad_result" in spec:
        return {"result": object()}
    progress(1, 1)
    return dict(spec.get("result", {}))


def _wait_for(path: Path, progress: Callable[[int, int], None] | None) -> None:
    turns = 0
    while not path.exists():
        time.sleep(0.02)
        turns += 1
        if progress is not None:
            progress(turns, 0)
