"""The entry points of a farm's processes: ``python -m grid.farm.processes ROLE HOME PARENT NAME``."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from grid.farm import leash


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
    node.settle(node.Node(home, site, name))
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
        node.settle(node.Node(home, site, name))
    client = GatewayClient.of_home(home)
    dispatch(client, executor_of(home, site), cell=site.name, name=name, stop=threading.Event())


ROLES = {"dispatcher": dispatcher, "scheduler": scheduler, "worker": worker}


def main(role: str, place: str, parent: str, name: str) -> None:
    """Become one of the farm's processes; dies with the supervisor."""
    leash.die_with_parent(int(parent))
    from grid.farm.startup import reporting

    with reporting(role, Path(place)):
        ROLES[role](Path(place), name)


if __name__ == "__main__":
    main(*sys.argv[1:])
