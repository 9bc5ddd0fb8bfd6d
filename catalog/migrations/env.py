"""Run migrations inside the transaction that the caller has opened."""

from __future__ import annotations

from alembic import context

import catalog.schema_files
import catalog.schema_runs
import catalog.schema_triggers
import catalog.schema_work  # noqa: F401  (each adds its tables to the metadata)
from catalog.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
context.run_migrations()
