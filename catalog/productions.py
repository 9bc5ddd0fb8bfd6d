"""Productions: submit one, give it inputs, change its state."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, exists, func, insert, select, update

from catalog import triggers
from catalog.batches import IN_LIST, ROWS, batches
from catalog.dialects import insert_missing
from catalog.engine import now
from catalog.rows import Production
from catalog.schema_files import dataset, file
from catalog.schema_work import production, production_input
from catalog.states import FileState, ProductionState
from sitecfg.errors import NotFound, RecipeChanged
from sitecfg.names import Name, near

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection

_COLUMNS = [production.c[name] for name in Production.__slots__]


def submit_production(
    tx: Connection,
    scope: str,
    name: str,
    *,
    recipe: Mapping[str, Any],
    recipe_hash: str,
    script_hash: str | None = None,
    trigger_table: int | None = None,
    shared: Mapping[str, Mapping[str, Any]] | None = None,
    priority: int = 0,
) -> Production:
    """Make a production, active at once; its trigger table becomes immutable.

    Idempotent: the same name with the same recipe is the same production. Inputs, output datasets and jobs
    are added by calls of their own, in the same transaction or later.

    Parameters
    ----------
    shared
        By kind of job, what all jobs of that kind are told; each job's own spec is laid over it.

    Raises
    ------
    RecipeChanged
        A production of this name exists with another recipe (or scope); ``facts["recipe"]`` is the old one.
    """
    Name(scope, name)
    found = _find(tx, name)
    if found is not None:
        if (found.scope, found.recipe_hash) != (scope, recipe_hash):
            changed = sorted(
                key for key in {*found.recipe, *recipe} if found.recipe.get(key) != recipe.get(key)
            )
            raise RecipeChanged(
                f"the production exists with another {'scope' if found.scope != scope else 'recipe'}"
                + (f": {', '.join(changed)} differ" if changed else ""),
                where=name,
                todo="give the changed production another name",
                changed=changed,
                recipe=dict(found.recipe),
            )
        return found
    if trigger_table is not None:
        triggers.freeze(tx, trigger_table)
    at = now(tx)
    tx.execute(
        insert(production).values(
            scope=scope,
            name=name,
            state=ProductionState.ACTIVE,
            priority=priority,
            recipe=dict(recipe),
            recipe_hash=recipe_hash,
            script_hash=script_hash,
            trigger_table=trigger_table,
            shared={kind: dict(told) for kind, told in (shared or {}).items()},
            created=at,
            changed=at,
        )
    )
    return get(tx, name)


def get(tx: Connection, name: str) -> Production:
    """Return a production by its name.

    Raises
    ------
    NotFound
        There is none; near names are listed.
    """
    found = _find(tx, name)
    if found is None:
        alike = near(name, [one.name for one in productions(tx)])
        raise NotFound(
            "there is no such production",
            where=name,
            todo=f"did you mean {', '.join(alike)}?" if alike else "list them with: grid status",
        )
    return found


def productions(tx: Connection, *, state: ProductionState | None = None) -> list[Production]:
    """Return every production, or those in a state, oldest first."""
    query = select(*_COLUMNS).order_by(production.c.id)
    if state is not None:
        query = query.where(production.c.state == state)
    return [Production(*row) for row in tx.execute(query)]


def set_production_state(
    tx: Connection, production_id: int, state: ProductionState, *, why: str | None = None
) -> bool:
    """Change a production's state, with a reason for people. Idempotent; says whether it changed.

    Cancelled is for ever; :func:`catalog.control.cancel` gives up the jobs too.
    """
    changed = tx.execute(
        update(production)
        .where(
            production.c.id == production_id,
            production.c.state != ProductionState.CANCELLED,
            (production.c.state != state) | (func.coalesce(production.c.why, "") != (why or "")),
        )
        .values(state=state, why=why, changed=now(tx))
    )
    return bool(changed.rowcount)


def plan_again(tx: Connection, numbers: Iterable[int]) -> None:
    """Let the planner look again at productions that are complete or stalled; the others stay as they are."""
    for piece in batches(numbers, IN_LIST):
        tx.execute(
            update(production)
            .where(
                production.c.id.in_(piece),
                production.c.state.in_((ProductionState.COMPLETE, ProductionState.STALLED)),
            )
            .values(state=ProductionState.ACTIVE, why=None, changed=now(tx))
        )


def add_inputs(tx: Connection, production_id: int, inputs: Iterable[int]) -> None:
    """Make files inputs of a production. Idempotent; meant for any number of files at once."""
    for piece in batches(inputs, ROWS):
        insert_missing(tx, production_input, [{"production": production_id, "file": one} for one in piece])


def add_dataset_inputs(tx: Connection, production_id: int, dataset_id: int) -> int:
    """Make every file of a dataset an input of a production, unless it is retired.

    Idempotent; returns how many were new.
    """
    chosen = select(file.c.id).where(file.c.dataset == dataset_id, file.c.state != FileState.RETIRED)
    missing = list(
        tx.execute(
            chosen.where(
                ~exists().where(
                    production_input.c.production == production_id, production_input.c.file == file.c.id
                )
            ).order_by(file.c.id)
        ).scalars()
    )
    add_inputs(tx, production_id, missing)
    return len(missing)


def forget_withdrawn_inputs(tx: Connection, production_id: int, dataset_id: int) -> int:
    """Take the withdrawn files from a production's inputs, once the production that makes the dataset is over.

    From then on what was made instead of them is in the dataset. Idempotent; returns how many there were.
    """
    over = (
        select(dataset.c.id)
        .join(production, production.c.id == dataset.c.production)
        .where(
            dataset.c.id == dataset_id,
            production.c.state.in_((ProductionState.COMPLETE, ProductionState.CANCELLED)),
        )
    )
    withdrawn = select(file.c.id).where(file.c.purpose == "output", file.c.state == FileState.RETIRED)
    return tx.execute(
        delete(production_input).where(
            production_input.c.production == production_id,
            production_input.c.file.in_(withdrawn),
            over.exists(),
        )
    ).rowcount


def _find(tx: Connection, name: str) -> Production | None:
    row = tx.execute(select(*_COLUMNS).where(production.c.name == name)).one_or_none()
    return None if row is None else Production(*row)
