"""Claim jobs and hand them to slots. Stateless: kill it, or run two, and nothing is lost or done twice."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from grid.farm.executors import DaskExecutor, LocalExecutor
from grid.farm.window import batch, window
from sitecfg.errors import GridError
from sitecfg.points import reach

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from grid.farm.client import GatewayClient
    from grid.farm.executors import Executor
    from grid.farm.home import Home
    from sitecfg.models import Site

__all__ = ["dispatch", "executor_of"]

_log = logging.getLogger(__name__)
#: A claim waits this long at the gateway for a job to come, seconds.
CLAIM_WAIT_S = 5.0
#: Pause after something that should work did not, seconds.
AGAIN_S = 0.2


def executor_of(home: Home, site: Site) -> Callable[[], AbstractContextManager[Executor]]:
    """Return what makes the executor that the settings name."""
    slots = site.workers.number * site.workers.slots
    if site.workers.executor == "local":
        return lambda: LocalExecutor(slots)
    return lambda: DaskExecutor(home, slots)


def dispatch(
    client: GatewayClient,
    make: Callable[[], AbstractContextManager[Executor]],
    *,
    cell: str,
    name: str,
    stop: threading.Event,
) -> None:
    """Keep slots busy until told to stop.

    Parameters
    ----------
    client
        The gateway.
    make
        Makes an executor; called again whenever the last one is dead. What it raises as ``OSError`` (nobody to
        connect to) is tried again.
    cell
        The cell that jobs are claimed for.
    name
        Of this dispatcher's life; never used again.
    stop
        Ends the loop, within a few seconds.
    """
    while not stop.is_set():
        try:
            with make() as executor:
                _serve(client, executor, cell, name, stop)
        except (OSError, TimeoutError) as error:
            _log.warning("no executor: %s", error)
            stop.wait(AGAIN_S)
        else:
            # What it did not begin, it never will.
            _give_back(client, worker=name)


def _serve(client: GatewayClient, executor: Executor, cell: str, name: str, stop: threading.Event) -> None:
    while not stop.is_set() and executor.alive():
        size = window(executor.slots, executor.mean_s())
        wanted = batch(executor.slots, size, executor.in_flight())
        if not wanted:
            _give_back(client, executor.wait(1.0))
            continue
        try:
            claims = client.claim(cell, wanted, most=size, claimer=name, wait_s=CLAIM_WAIT_S, patience_s=0.0)
        except GridError as error:
            _log.warning("no claim: %s", error)
            # The ledger may have granted it all the same. What begins late is told that it is stale.
            _give_back(client, worker=name)
            stop.wait(AGAIN_S)
            continue
        if claims:
            reach("dispatcher.claimed")
            executor.start(claims)
            reach("dispatcher.handed")
        _give_back(client, executor.wait(0.0))


def _give_back(
    client: GatewayClient, claims: Sequence[tuple[int, int]] = (), *, worker: str | None = None
) -> None:
    """Return claims that never began; those that did are their workers' business."""
    if not claims and worker is None:
        return
    try:
        client.release(leases=[(job, epoch, None) for job, epoch in claims], worker=worker)
    except GridError as error:
        _log.warning("claims are left to run out: %s", error)
