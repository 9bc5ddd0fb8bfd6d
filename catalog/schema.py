"""The one ``MetaData`` of the catalog, and the column types and checks that its tables share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, CheckConstraint, Integer, MetaData, cast, func
from sqlalchemy.types import TypeDecorator

if TYPE_CHECKING:
    from enum import StrEnum

    from sqlalchemy import Column, ColumnElement, Dialect

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: A row number. SQLite makes its own only for the type ``INTEGER``.
RowId = BigInteger().with_variant(Integer(), "sqlite")


class Word64(TypeDecorator[int]):
    """An unsigned 64-bit word, stored as the signed integer of the same bits (databases have no unsigned)."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Give the signed integer of the same bits."""
        if value is None or value < 1 << 63:
            return value
        return value - (1 << 64)

    def process_result_value(self, value: Any | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        """Give the unsigned word back."""
        return None if value is None else int(value) & 0xFFFF_FFFF_FFFF_FFFF


def one_of(column: str, states: type[StrEnum]) -> CheckConstraint:
    """Return the check that a text column holds one of an enumeration's values."""
    values = ", ".join(f"'{state.value}'" for state in states)
    return CheckConstraint(f"{column} IN ({values})", name=column)


def whole_sum(column: Column[int] | Column[int | None]) -> ColumnElement[int]:
    """Return the sum of whole numbers as one, 0 of no rows; PostgreSQL would give a decimal fraction."""
    return cast(func.coalesce(func.sum(column), 0), BigInteger)
