"""A step that does nothing, or misbehaves when asked to: for measuring the farm and for testing it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
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
        Optional keys, in the order in which they are obeyed:
        ``print`` (text);
        ``touch`` (a file that the start token is appended to);
        ``spawn`` (``"child"``, or ``"daemon"`` in a session of its own; its number goes to the file ``spawned``);
        ``wait_for`` (a file; waits until it exists, with ``steady`` progress if asked for);
        ``allocate`` (bytes);
        ``fail`` (the name of an error class; raised with the reason ``why`` unless the file ``unless`` exists);
        ``signal`` (number, sent to itself);
        ``exit`` (code; leaves without a result);
        ``bad_result`` (returns what JSON can't carry);
        ``random`` (returns random numbers);
        ``environ`` (names, whose values are returned);
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
    if "spawn" in spec:
        _spawn(spec["spawn"])
    if "wait_for" in spec:
        _wait_for(Path(spec["wait_for"]), progress if spec.get("steady") else None)
    if "allocate" in spec:
        held = bytearray(os.urandom(4096)) * (int(spec["allocate"]) // 4096)
        _wait_for(Path(spec["attempt"]["scratch"]) / "never", progress)
        del held
    if "fail" in spec and not Path(spec.get("unless", "")).is_file():
        raise getattr(errors, spec["fail"])(spec.get("why", "the spec asked for it"), where="empty")
    if "signal" in spec:
        os.kill(os.getpid(), signal.Signals(spec["signal"]))
    if "exit" in spec:
        os._exit(spec["exit"])
    if "bad_result" in spec:
        return {"result": object()}
    progress(1, 1)
    if "random" in spec:
        import random

        import numpy as np

        return {"random": [random.random(), float(np.random.random())]}  # noqa: NPY002 -- what old code uses
    if "environ" in spec:
        return {"environ": [os.environ.get(name) for name in spec["environ"]]}
    return dict(spec.get("result", {}))


def _spawn(how: str) -> None:
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    if how == "daemon":
        starter = (
            "import subprocess; "
            f"print(subprocess.Popen({sleeper!r}, start_new_session=True, stdout=subprocess.DEVNULL).pid)"
        )
        number = subprocess.check_output([sys.executable, "-c", starter], text=True)
    else:
        number = str(subprocess.Popen(sleeper).pid)
    Path("spawned").write_text(number)


def _wait_for(path: Path, progress: Callable[[int, int], None] | None) -> None:
    turns = 0
    while not path.exists():
        time.sleep(0.02)
        turns += 1
        if progress is not None:
            progress(turns, 0)
