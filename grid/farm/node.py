"""What the attempts of one worker process share: the gateway, the leases, the payload processes."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from grid.farm.client import GatewayClient
from grid.farm.forkserver import PRELOAD
from grid.farm.leases import Keeper
from grid.farm.payload import PayloadServer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

    from grid.farm.home import Home
    from sitecfg.models import Site

__all__ = ["Node", "current", "settle"]


@dataclass(slots=True)
class Node:
    """A place where attempts run; one per worker process.

    Parameters
    ----------
    home
        Where logs lie.
    site
        The settings.
    worker
        The name of this start of this worker; never used again, so that its leases can be returned by name.
    inline
        Run steps in this process instead of a payload process; for measuring what the ledger and Dask cost.
    preload
        What payloads find loaded.
    fresh
        This process has one thread and has loaded what payloads need; see ``PayloadServer``.
    """

    home: Home
    site: Site
    worker: str
    inline: bool = False
    preload: Sequence[str] = PRELOAD
    fresh: bool = False
    host: str = field(default_factory=socket.gethostname)
    client: GatewayClient = field(init=False)
    keeper: Keeper = field(init=False)
    payloads: PayloadServer | None = field(init=False)

    def __post_init__(self) -> None:
        # First, while this process has one thread.
        self.payloads = None if self.inline else PayloadServer(self.preload, fresh=self.fresh)
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.client = GatewayClient.of_home(self.home, patience_s=self.site.lease.seconds)
        self.keeper = Keeper(self.client, renew_fraction=self.site.lease.renew_fraction)

    @property
    def scratch(self) -> Path:
        """Working directories of this worker's attempts."""
        return self.site.scratch / self.worker

    def close(self) -> None:
        """Kill the payloads and leave; the leases stay."""
        if self.payloads is not None:
            self.payloads.close()
        self.keeper.close()
        self.client.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_current: Node | None = None


def settle(node: Node | None) -> None:
    """Make `node` the one that this process's attempts run on."""
    global _current  # noqa: PLW0603 -- a process is one worker; Dask hands tasks nothing but strings
    _current = node


def current() -> Node:
    """Return this process's node."""
    if _current is None:
        msg = "this process is no worker of the farm"
        raise RuntimeError(msg)
    return _current
