"""A table that is written as TOML is the same table when it is read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grid.trigger import TriggerTable
from grid.trigger.toml import to_toml

if TYPE_CHECKING:
    from pathlib import Path


def test_a_written_table_reads_back_equal(tmp_path: Path) -> None:
    menu = [f"HLT_Mu{n}_v{n}" for n in range(12)]
    table = TriggerTable(
        "PHYSICS", 3, {"A": ["HLT_Mu*"], "B-odd": menu[1::2]}, {"HLT_Mu1_v1": 7}, 'with "quotes" and µ', menu
    )
    path = tmp_path / "table.toml"
    path.write_text(to_toml(table))
    assert TriggerTable.from_toml(path) == table
    assert list(TriggerTable.from_toml(path).streams) == ["A", "B-odd"]
