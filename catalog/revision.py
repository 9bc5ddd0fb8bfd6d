"""Which revision the tables are of, and how they get to the one that this software needs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import column, inspect, select, table

from sitecfg.errors import SchemaRevision

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

#: The revision that this software needs: the newest file in ``catalog/migrations/versions``.
HEAD = "0001"

#: The command that mends an older catalog.
MEND = "grid init"

_VERSION = table("alembic_version", column("version_num"))


def current(tx: Connection) -> str | None:
    """Return the revision of the catalog's tables; None when there are none."""
    if not inspect(tx).has_table("alembic_version"):
        return None
    found = tx.execute(select(_VERSION.c.version_num)).scalar()
    return None if found is None else str(found)


def check(tx: Connection, url: str) -> None:
    """Refuse a catalog of another revision.

    Raises
    ------
    SchemaRevision
        With the command that mends it.
    """
    found = current(tx)
    if found == HEAD:
        return
    if found is None or found in known():
        raise SchemaRevision(
            f"the catalog is of revision {found or 'none'}, this software needs {HEAD}",
            where=url,
            todo=f"bring it up to date with: {MEND}",
            found=found,
            needed=HEAD,
        )
    raise _newer(found, url)


def upgrade(tx: Connection, url: str) -> None:
    """Bring the tables to :data:`HEAD` inside the transaction `tx`. Idempotent.

    Raises
    ------
    SchemaRevision
        The tables are of a revision that this software doesn't know.
    """
    found = current(tx)
    if found == HEAD:
        return
    if found is not None and found not in known():
        raise _newer(found, url)
    from alembic import command  # noqa: PLC0415  (slow to import, and needed only here)

    config = settings()
    config.attributes["connection"] = tx
    command.upgrade(config, "head")


def known() -> frozenset[str]:
    """Return every revision that this software knows."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415  (slow to import, and needed only here)

    return frozenset(script.revision for script in ScriptDirectory.from_config(settings()).walk_revisions())


def settings() -> Config:
    """Return Alembic's settings: only where the migrations lie, inside the installed package."""
    from alembic.config import Config  # noqa: PLC0415  (slow to import, and needed only here)

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    return config


def _newer(found: str, url: str) -> SchemaRevision:
    return SchemaRevision(
        f"the catalog is of revision {found}, which this software (revision {HEAD}) doesn't know",
        where=url,
        todo="a newer mdcgrid made it; install that one: pip install --upgrade mdcgrid",
        found=found,
        needed=HEAD,
    )
