"""Where a verb works: the home folder, the site's settings, and the ways into the catalog and the farm."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.engine import Catalog
    from grid.farm.client import GatewayClient
    from sitecfg.load import Settings

__all__ = ["Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """What the options before the verb say; hung on the context of every verb."""

    home: Path

    def settings(self) -> Settings:
        """Read the settings of this home; every problem is told at once."""
        from sitecfg.load import load_site

        return load_site(self.home)

    @contextmanager
    def catalog(self) -> Iterator[Catalog]:
        """Open the catalog to read it; nothing is made or changed."""
        from catalog.engine import Catalog

        with Catalog.open(self.settings().site.catalog.url) as catalog:
            yield catalog

    @contextmanager
    def gateway(self, *, farm: bool = False) -> Iterator[GatewayClient]:
        """Join the home's gateway, or start one for as long as the verb runs; `farm`: with slots that run jobs."""
        from grid.farm.session import attach

        with attach(self.home, need="farm" if farm else "gateway") as session:
            yield session.client
