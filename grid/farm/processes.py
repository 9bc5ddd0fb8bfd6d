"""What the farm's processes do, by role: each is forked by the zygote and lives as long as the supervisor."""

from __future__ import annotations

import logging
import threading
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["run"]


def run(role: str, place: Path, name: str) -> int:
    """Play a role until killed and return the exit code.

    Parameters
    ----------
    role
        ``scheduler``, ``worker`` or ``dispatcher``.
    place
        The home's folder.
    name
        The name of this one start, never used again.
    """
    from grid.farm.startup import reporting

    try:
        with reporting(role, place):
            ROLES[role](place, name)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except Exception:
        # The process was forked: nobody above would print it.
        logging.getLogger(__name__).exception("%s broke", name)
        traceback.print_exc()
        return 1
    return 0


def scheduler(place: Path, name: str) -> None:  # noqa: ARG001
    """Be the Dask scheduler."""
    from grid.farm.cluster import run_scheduler
    from grid.farm.home import Home

    run_scheduler(Home(place))


def worker(place: Path, name: str) -> None:
    """Be a Dask worker."""
    from grid.farm import node
    from grid.farm.cluster import run_worker
    from grid.farm.home import Home
    from grid.farm.startup import settings

    home = Home(place)
    site = settings(home)
    node.settle(node.Node(home, site, name, fresh=True))
    run_worker(home, name, site.workers.slots)


def dispatcher(place: Path, name: str) -> None:
    """Claim jobs; without Dask, run them too."""
    from grid.farm import node
    from grid.farm.client import GatewayClient
    from grid.farm.dispatcher import dispatch, executor_of
    from grid.farm.home import Home
    from grid.farm.startup import settings

    home = Home(place)
    site = settings(home)
    if site.workers.executor == "local":
        node.settle(node.Node(home, site, name, fresh=True))
    client = GatewayClient.of_home(home)
    dispatch(client, executor_of(home, site), cell=site.name, name=name, stop=threading.Event())


ROLES = {"dispatcher": dispatcher, "scheduler": scheduler, "worker": worker}
