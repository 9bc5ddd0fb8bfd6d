"""Named points in the protocols, where a test can hold a process to kill it, or another one, just there.

A process that reaches the point which ``$MDCGRID_STOP_AT`` names (``POINT:FOLDER``) writes its number into
``FOLDER/POINT`` and waits until ``FOLDER/go`` is there. Only the first one that comes is held. Without the variable a
point costs one comparison.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import MappingProxyType
from typing import Final

__all__ = ["POINTS", "reach"]

#: Every point, and what is true there.
POINTS: Final = MappingProxyType(
    {
        "claim.durable": "gateway: jobs are leased, and the dispatcher hasn't heard of it",
        "dispatcher.claimed": "dispatcher: it holds claims, and no worker has heard of them",
        "attempt.begun": "worker: the job is bound to this run, and no payload runs yet",
        "output.durable": "payload: an output is on the disk, without its name",
        "output.named": "payload: an output has its name, and nobody knows",
        "payload.done": "payload: all outputs have their names, and the worker hasn't heard of it",
        "attempt.ended": "worker: it has the result, and the ledger hasn't",
        "commit.open": "gateway: the result is written, and the transaction isn't committed",
        "commit.durable": "gateway: the transaction is committed, and the worker hasn't heard of it",
        "attempt.committed": "worker: it knows of the commit, and hasn't cleared up",
        "plan.open": "gateway: new jobs are written, and the transaction isn't committed",
        "plan.durable": "gateway: new jobs are committed, and nobody was woken",
    }
)

_WANTED, _, _FOLDER = os.environ.get("MDCGRID_STOP_AT", "").partition(":")
_LOOK_EVERY_S = 0.02


def reach(point: str) -> None:
    """Say that this process is at a point; returns at once unless a test holds it there."""
    if point == _WANTED:
        _stop(Path(_FOLDER), point)


def _stop(folder: Path, point: str) -> None:
    try:
        mark = (folder / point).open("x")
    except FileExistsError:
        return
    with mark:
        mark.write(str(os.getpid()))
    while not (folder / "go").exists():
        time.sleep(_LOOK_EVERY_S)
