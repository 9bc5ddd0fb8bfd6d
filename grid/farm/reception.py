"""What people ask of a home, as transactions: declare files, submit a production, free held jobs, report."""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Any

from catalog import files, find, jobs, planning, productions, status, triggers
from catalog.outputs import UNMERGED
from catalog.states import FileState, JobState, Kind, ProductionState
from grid.farm.planner import streams_of
from grid.steps.recipe import Recipe, differences
from grid.trigger import TriggerTable
from sitecfg.errors import RecipeChanged, UsageError
from sitecfg.names import Name, output_dataset, unmerged_dataset

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from catalog.engine import Transaction
    from catalog.rows import Dataset, File, Production

__all__ = ["dataset", "declare", "file_row", "progress", "report", "retry", "submit"]

RAW = "raw"
#: A job that was started so often and is not done is shown to people.
MANY_STARTS = 4


def declare(
    tx: Transaction,
    name: Name,
    named: Sequence[tuple[str, str]],
    *,
    identity: Sequence[str],
    tree: Sequence[str],
    tier: str = RAW,
) -> dict[str, Any]:
    """Make files known as a dataset, and make the jobs that look into them. Idempotent.

    Parameters
    ----------
    named
        Logical name (without scope) and URL of each file.
    identity, tree
        The branches that identify an event, and the event trees, as :class:`~grid.steps.recipe.Recipe` has them.

    Returns
    -------
    dict
        ``dataset``, and how many files are ``new`` and how many were ``known``.
    """
    target = files.add_dataset(tx, name.scope, name.name, tier)
    _same_events(tx, target, identity, tree)
    registered = files.register_files(tx, target.id, named)
    spec = {"identity": list(identity), "tree": list(tree)}
    jobs.add_jobs(tx, None, Kind.INTAKE, [jobs.NewJob(str(one), (one,), spec) for one in registered.added])
    if registered.added:
        _grow(tx, target)
    return {"dataset": str(name), "new": len(registered.added), "known": len(registered.known)}


def submit(
    tx: Transaction, name: str, scope: str, recipe: Recipe, named: Sequence[tuple[str, str]]
) -> dict[str, Any]:
    """Make a production with its inputs and output datasets; its jobs are the planner's. Idempotent.

    Raises
    ------
    RecipeChanged
        The name is taken by another recipe; every difference is told.
    UsageError
        The input dataset is empty.
    """
    known = {one.name for one in productions.productions(tx)}
    table = _table(tx, recipe)
    shared = {
        "recipe": recipe.to_json(),
        "recipe_hash": recipe.hash,
        "scope": scope,
        "streams": streams_of(recipe),
    }
    try:
        production = productions.submit_production(
            tx,
            scope,
            name,
            recipe=recipe.to_json(),
            recipe_hash=recipe.hash,
            script_hash=recipe.script or None,
            trigger_table=table,
            shared={Kind.COMPARE: shared, Kind.PROCESS: shared, Kind.MERGE: shared},
        )
    except RecipeChanged as error:
        raise _told(error, recipe) from error
    source = Name.parse(recipe.inputs)
    if named:
        declare(tx, source, named, identity=recipe.identity, tree=recipe.tree)
    inputs = find.dataset(tx, source.scope, source.name)
    _same_events(tx, inputs, recipe.identity, recipe.tree)
    added = productions.add_dataset_inputs(tx, production.id, inputs.id)
    if productions.forget_withdrawn_inputs(tx, production.id, inputs.id) or added:
        # A production that was over has late inputs now; they make files of their own.
        productions.plan_again(tx, [production.id])
    if not planning.input_states(tx, production.id, inputs.id):
        raise UsageError("the input dataset has no files", where=recipe.inputs, todo="declare files first")
    for bit, stream in enumerate(streams_of(recipe)):
        _datasets(tx, production, recipe, stream, bit)
    return {"name": name, "new": name not in known, "state": production.state}


def retry(tx: Transaction, *, production: str | None, file: str | None, job: int | None) -> dict[str, Any]:
    """Free held jobs: of a production, of a file, or one. Idempotent; says how many it freed."""
    if production is not None:
        freed = jobs.free(tx, production=productions.get(tx, production).id)
    elif file is not None:
        name = Name.parse(file)
        number = find.file(tx, name.scope, name.name).id
        freed = jobs.free(tx, jobs=[one.id for one in status.jobs(tx, file=number, states=[JobState.HELD])])
    elif job is not None:
        freed = jobs.free(tx, jobs=[status.one_job(tx, job).id])
    else:
        raise UsageError("nothing to retry is named", todo="name a production, a file or a job")
    # A production that waited for an operator goes on; one that is complete stays so.
    for one in productions.productions(tx, state=ProductionState.STALLED):
        if freed or one.name == production:
            productions.set_production_state(tx, one.id, ProductionState.ACTIVE)
    return {"freed": len(freed)}


def dataset(tx: Transaction, name: Name) -> dict[str, Any]:
    """List a dataset's files with what is known of them, and count those whose intake job is held."""
    found = find.dataset(tx, name.scope, name.name)
    listed = [(one, file_row(one)) for one in find.files(tx, found.id)]
    held = 0
    for one, row in listed:
        if one.state == FileState.CLOSED:
            for job in status.jobs(tx, file=one.id, kinds=[Kind.INTAKE], states=[JobState.HELD]):
                held += 1
                row["why"] = job.why
    return {
        "dataset": str(name),
        "state": found.state,
        "held": held,
        "files": [row for _, row in listed],
    }


def file_row(one: File) -> dict[str, Any]:
    """Return what people and programs want to know of a file."""
    return {
        "name": str(one),
        "state": one.state,
        "events": one.events,
        "bytes": one.bytes,
        "adler32": one.adler32,
        "xxh3": one.xxh3,
        "fingerprint": one.fingerprint,
        "content": one.content,
        "locality": "DISK" if one.urls else "NONE",
        "urls": list(one.urls),
        "why": one.why,
    }


def progress(tx: Transaction, name: str) -> dict[str, Any]:
    """Say how far a production is: jobs by kind, done and in all."""
    production = productions.get(tx, name)
    source = Name.parse(production.recipe["inputs"])
    inputs = planning.input_states(tx, production.id, find.dataset(tx, source.scope, source.name).id)
    total, waiting = sum(inputs.values()), inputs.get(FileState.CLOSED, 0)
    counts = status.job_counts(tx, production.id)
    done, all_of = {Kind.INTAKE.value: total - waiting}, {Kind.INTAKE.value: total}
    for kind in (Kind.COMPARE, Kind.PROCESS, Kind.MERGE):
        found = counts.get(kind, {})
        number = sum(count for state, count in found.items() if state != JobState.CANCELLED)
        if number or kind is Kind.PROCESS:
            done[kind.value] = found.get(JobState.DONE, 0)
            all_of[kind.value] = max(number, total if kind is Kind.PROCESS else 0)
    held = sum(found.get(JobState.HELD, 0) for found in counts.values())
    held += inputs.get(FileState.BAD, 0)
    if production.state == ProductionState.STALLED:
        held = len(status.held(tx, production.id, limit=1000))
    return {
        "production": name,
        "state": production.state,
        "done": done,
        "total": all_of,
        "running": sum(found.get(JobState.LEASED, 0) for found in counts.values()),
        "held": held,
        "reasons": _reasons(tx, production),
    }


def report(tx: Transaction, name: str) -> dict[str, Any]:
    """Say what a production did, from its books; no file is opened."""
    production = productions.get(tx, name)
    recipe = Recipe.from_json(production.recipe)
    streams = streams_of(recipe)
    books, dropped = planning.books(tx, production.id)
    totals = planning.dataset_totals(tx, production.id)
    used = status.used(tx, production.id)
    inputs = planning.input_totals(tx, production.id)
    overlap = [[0] * len(streams) for _ in streams]
    for i, j in combinations_with_replacement(range(len(streams)), 2):
        both = sum(tally.events for mask, tally in books.items() if mask >> i & 1 and mask >> j & 1)
        overlap[i][j] = overlap[j][i] = both
    merged = [str(output_dataset(production.scope, name, stream)) for stream in streams]
    return {
        "production": name,
        "state": production.state,
        "reasons": _reasons(tx, production),
        "files_in": sum(count for count, _, _ in inputs.values()),
        "bytes_in": sum(size for _, size, _ in inputs.values()),
        "events_in": sum(events for _, _, events in inputs.values()),
        "files_bad": inputs.get(FileState.BAD, (0, 0, 0))[0],
        "events_bad": inputs.get(FileState.BAD, (0, 0, 0))[2],
        "streams": [
            {
                "stream": stream,
                "dataset": target,
                "files": totals[target][0],
                "bytes": totals[target][1],
                "events": totals[target][2],
            }
            for stream, target in zip(streams, merged, strict=True)
        ],
        "events_nowhere": books[0].events if 0 in books else 0,
        "events_dropped": dropped.events,
        "overlap": overlap,
        "attempts": used.attempts,
        "cpu_s": used.cpu_s,
        "wall_s": (used.last_end - used.first_start) if used.last_end and used.first_start else 0.0,
        "peak_rss": used.peak_rss,
        "failures": sorted(status.failures(tx, production.id).items()),
        "held": [
            {"job": one.id, "kind": one.kind, "why": one.why}
            for one in status.held(tx, production.id, limit=20)
        ],
    }


def _grow(tx: Transaction, grown: Dataset) -> None:
    """Make a dataset's new files inputs of the productions over it; those that were over go on."""
    for one in productions.productions(tx):
        if one.recipe["inputs"] != str(grown) or one.state == ProductionState.CANCELLED:
            continue
        productions.add_dataset_inputs(tx, one.id, grown.id)
        productions.plan_again(tx, [one.id])


def _reasons(tx: Transaction, production: Production) -> list[str]:
    """Say why a production can't go on, and which of its jobs are tried again and again.

    Kills and lost leases never hold a job; what brings them about each time would go on unseen.
    """
    reasons = [production.why] if production.why else []
    if production.state == ProductionState.ACTIVE:
        reasons += [
            f"{one.kind} job {one.id} was started {one.epoch} times: {one.why or 'its workers went away'}"
            for one in status.struggling(tx, production.id, starts=MANY_STARTS, limit=3)
        ]
    return reasons


def _same_events(tx: Transaction, dataset: Dataset, identity: Sequence[str], tree: Sequence[str]) -> None:
    """Refuse another idea of what an event is than the dataset's files were looked into with."""
    told = planning.told_at_intake(tx, dataset.id) or {}
    for what, wanted in (("identity", list(identity)), ("tree", list(tree))):
        if told.get(what, wanted) != wanted:
            raise UsageError(
                f"it was declared with {what}={told[what]!r}, not {wanted!r}",
                where=str(dataset),
                todo=f"say {what}={told[what]!r}, or declare the files as another dataset",
            )


def _datasets(tx: Transaction, production: Production, recipe: Recipe, stream: str, bit: int) -> None:
    def add(name: Name, tier: str) -> Dataset:
        return files.add_dataset(
            tx, name.scope, name.name, tier, stream=stream, stream_bit=bit, production=production.id
        )

    if recipe.merge:
        add(unmerged_dataset(production.scope, production.name, stream), UNMERGED)
    add(output_dataset(production.scope, production.name, stream), "processed")


def _table(tx: Transaction, recipe: Recipe) -> int | None:
    if recipe.table is None:
        return None
    table = TriggerTable.from_json(recipe.table)
    return triggers.import_table(tx, table.name, table.tag, table.hash, table.to_json()).id


def _told(error: RecipeChanged, recipe: Recipe) -> RecipeChanged:
    old: Mapping[str, Any] = error.facts.get("recipe", {})
    lines = differences(Recipe.from_json(old), recipe) if old else []
    return RecipeChanged(
        "a production of this name exists with another recipe" + "".join(f"\n    {line}" for line in lines),
        where=error.where,
        todo="give the changed production another name, or undo the change",
        differences=lines,
    )
