from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitecfg.load import load_site
from sitecfg.show import hide_secrets, shown

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
[storage.places.eos]
url = "root://reader:very-secret@eos.example.org//store"
[workers]
memory = "1234567890 B"
[retry.space]
retries = "unlimited"
"""


def test_each_value_is_shown_with_its_origin_and_meaning(tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(TOML)
    settings = load_site(tmp_path, environ={"MDCGRID_WORKERS__SLOTS": "4"})
    rows = {row.key: row for row in shown(settings)}
    assert set(rows) == set(settings.origins)
    assert rows["workers.slots"].text == "4"
    assert rows["workers.slots"].origin == "$MDCGRID_WORKERS__SLOTS"
    assert rows["merge.target"].text == "1 GB"
    assert rows["merge.target"].value == 10**9
    assert rows["merge.target"].origin == "defaults.toml"
    assert rows["lease.seconds"].text == "10 min"
    assert rows["workers.memory"].text == "1234567890 B"
    assert rows["retry.space.retries"].text == "unlimited"
    assert rows["pool.path"].value == str(tmp_path / "pool")
    assert all(row.description for row in rows.values())
    json.dumps([row.value for row in rows.values()])


def test_secrets_are_never_shown(tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text(TOML)
    url = "postgresql+psycopg://me:very-secret@db/mdc?password=very-secret"
    rows = shown(load_site(tmp_path, environ={"MDCGRID_CATALOG__URL": url}))
    assert "very-secret" not in repr(rows)
    texts = {row.key: row.text for row in rows}
    assert texts["catalog.url"] == "postgresql+psycopg://me:***@db/mdc?password=***"
    assert texts["storage.places.eos.url"] == "root://reader:***@eos.example.org//store"


@pytest.mark.parametrize(
    "url", ["sqlite:////home/grid/catalog.sqlite", "root://eos.example.org//store", "s3://bucket/x"]
)
def test_a_url_without_secrets_is_shown_as_it_is(url: str) -> None:
    assert hide_secrets(url) == url


@given(st.text(min_size=1))
def test_any_password_is_hidden(password: str) -> None:
    marked = f"<{password}>"
    assert marked not in hide_secrets(f"postgresql://me:{marked}@db/mdc")
