"""The one door to the ledger: an HTTP service that is the only writer of an embedded catalog.

It must not know how work is run. It knows the catalog, the daemons that look after it, and who may ask.
"""

from grid.farm.gateway.app import create_app
from grid.farm.gateway.daemons import Daemon
from grid.farm.gateway.ledger import Ledger

__all__ = ["Daemon", "Ledger", "create_app"]
