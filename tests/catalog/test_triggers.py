"""Trigger tables are immutable once used."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from catalog import productions, triggers
from catalog.states import TableState
from sitecfg.errors import NotFound, TriggerTableError

if TYPE_CHECKING:
    from catalog.engine import Catalog


def test_a_draft_is_replaced_and_a_used_table_never(catalog: Catalog) -> None:
    with catalog.write() as tx:
        triggers.import_table(tx, "PHYSICS", 6, "h1", {"streams": {}})
        table = triggers.import_table(tx, "PHYSICS", 6, "h2", {"streams": {"A": ["x"]}})
        assert (table.state, table.document) == (TableState.DRAFT, {"streams": {"A": ["x"]}})
        productions.submit_production(tx, "test", "p", recipe={}, recipe_hash="r", trigger_table=table.id)
        assert triggers.import_table(tx, "PHYSICS", 6, "h2", {}).state == TableState.FROZEN
        with pytest.raises(TriggerTableError, match="PHYSICS/7"):
            triggers.import_table(tx, "PHYSICS", 6, "h3", {})


def test_a_retired_table_is_refused_for_new_productions(catalog: Catalog) -> None:
    with catalog.write() as tx:
        table = triggers.import_table(tx, "PHYSICS", 6, "h1", {})
        triggers.retire(tx, "PHYSICS", 6)
        with pytest.raises(TriggerTableError, match="retired"):
            productions.submit_production(tx, "test", "p", recipe={}, recipe_hash="r", trigger_table=table.id)


def test_near_names_are_offered(catalog: Catalog) -> None:
    with catalog.write() as tx:
        triggers.import_table(tx, "PHYSICS_1_01", 6, "h1", {})
        with pytest.raises(NotFound, match="PHYSICS_1_01/6"):
            triggers.table(tx, "PHYSICS_1_01", 7)
