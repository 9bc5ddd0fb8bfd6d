"""``python -m grid.farm.gateway FD PARENT HOME NAME``: serve a home's catalog on a socket that is listening already.

The supervisor opens the socket and keeps it, so while a gateway is started anew its callers wait instead of being
refused.
"""

from __future__ import annotations

import signal
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from grid.farm import leash
from grid.farm.home import Home, read_state
from sitecfg.errors import NotFound, SchemaRevision

if TYPE_CHECKING:
    from catalog.engine import Catalog


def main(descriptor: int, parent: int, place: str) -> None:
    """Serve until told to stop."""
    leash.die_with_parent(parent)
    from grid.farm.gateway import assembly, create_app
    from grid.farm.gateway.serving import server
    from grid.farm.startup import settings

    # uvicorn stops at these signals, and then raises them again: the catalog wants to be closed after that.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: None)
    home = Home(Path(place))
    site = settings(home)
    state = read_state(home.gateway) or {}
    with _open(site.catalog.url) as catalog:
        app = create_app(
            catalog,
            state["token"],
            site,
            routes=assembly.routes(home),
            daemons=assembly.daemons(site),
        )
        server(app).run(sockets=[socket.socket(fileno=descriptor)])


def _open(url: str) -> Catalog:
    """Open the catalog; make it if there is none, or none that was finished. An old one is left to its owner."""
    from catalog.engine import Catalog, create

    try:
        return Catalog.open(url)
    except NotFound:
        create(url)
    except SchemaRevision as error:
        if error.facts.get("found") is not None:
            raise
        create(url)
    return Catalog.open(url)


if __name__ == "__main__":
    from grid.farm.startup import reporting

    with reporting("gateway", Path(sys.argv[3])):
        main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
