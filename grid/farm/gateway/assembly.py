"""What the farm's own gateway consists of, besides the calls of the ledger."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.routing import BaseRoute

    from grid.farm.gateway.daemons import Daemon
    from grid.farm.home import Home
    from sitecfg.models import Site

__all__ = ["daemons", "routes"]


def routes(home: Home) -> Sequence[BaseRoute]:
    """Return the further routes of a home's gateway."""
    from grid.farm.gateway.desk import desk

    return desk(home)


def daemons(site: Site) -> Sequence[Daemon]:
    """Return the daemons that look after a home's catalog."""
    from grid.farm.planner import Planner
    from grid.farm.sweeper import Sweeper

    return (Planner(site.merge.max_inputs), Sweeper(site.pool.path, site.lease.seconds + site.lease.grace))
