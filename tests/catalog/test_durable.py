"""What may be forgotten does not wait for the disk, and what must be kept still does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from catalog.engine import Catalog

#: How each database is asked whether this transaction waits for the disk, and its words for yes and no.
WORDS = {
    "sqlite": ("PRAGMA synchronous", 2, 1),
    "postgresql": ("SHOW synchronous_commit", "on", "off"),
}


def test_each_transaction_is_as_durable_as_it_was_asked_to_be(catalog: Catalog) -> None:
    """The connections are reused, so each has to set what it needs."""
    question, yes, no = WORDS[catalog.engine.dialect.name]

    def answer(*, durable: bool) -> object:
        with catalog.write(durable=durable) as tx:
            return tx.exec_driver_sql(question).scalar_one()

    asked = [True, False, False, True, True, False, True]
    assert [answer(durable=durable) for durable in asked] == [yes if durable else no for durable in asked]
