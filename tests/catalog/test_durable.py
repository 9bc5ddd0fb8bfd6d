"""What may be forgotten does not wait for the disk, and what must be kept still does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from catalog.engine import Catalog, create

if TYPE_CHECKING:
    from pathlib import Path

FULL, NORMAL = 2, 1


def synchronous(catalog: Catalog, *, durable: bool) -> int:
    with catalog.write(durable=durable) as tx:
        return int(tx.exec_driver_sql("PRAGMA synchronous").scalar_one())


def test_each_transaction_is_as_durable_as_it_was_asked_to_be(tmp_path: Path) -> None:
    """The connections are reused, so each has to set what it needs."""
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    create(url)
    with Catalog.open(url) as catalog:
        asked = [True, False, False, True, True, False, True]
        found = [synchronous(catalog, durable=durable) for durable in asked]
        assert found == [FULL if durable else NORMAL for durable in asked]
