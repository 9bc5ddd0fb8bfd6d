"""Make the jobs that productions need next: reads the catalog, asks the plan, writes what is missing."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from catalog import jobs, planning, productions, status, triggers
from catalog.batches import batches
from catalog.states import READABLE, FileState, JobState, Kind, ProductionState
from grid.farm.plan import Fate, Input, Merge, Output, Plan, Process, Standing, plan
from grid.steps.recipe import Recipe
from sitecfg.points import reach

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from catalog.engine import Catalog, Transaction
    from catalog.rows import Production

__all__ = ["Planner", "streams_of"]

#: However large a production is, it is planned at least this often while things happen, seconds.
LONGEST_PAUSE_S = 30.0

#: Jobs made in one transaction: claims and commits wait for its end.
AT_ONCE = 20_000

_FATES = {
    JobState.READY: Fate.WAITING,
    JobState.LEASED: Fate.WAITING,
    JobState.PAUSED: Fate.WAITING,
    JobState.DONE: Fate.DONE,
    JobState.HELD: Fate.HELD,
}
_STATES = {
    Standing.ACTIVE: ProductionState.ACTIVE,
    Standing.COMPLETE: ProductionState.COMPLETE,
    Standing.STALLED: ProductionState.STALLED,
}


class Planner:
    """A daemon that keeps every unfinished production supplied with jobs.

    Idempotent, and safe to kill anywhere: jobs are named by what they work on, so that making them twice makes
    them once, and the state of a production is only ever what the plan says of the present facts.

    Parameters
    ----------
    max_inputs
        The most outputs that one merge job reads.
    """

    name = "plan"

    def __init__(self, max_inputs: int) -> None:
        self._max_inputs = max_inputs
        self._next = 0.0

    def step(self, catalog: Catalog) -> float | None:
        """Plan once for every active production; one that is stalled is made active by who frees its jobs.

        A plan looks at a whole production, and every commit asks for one: at most a tenth of the time goes into it.
        """
        began = time.monotonic()
        if began < self._next:
            return self._next - began
        with catalog.read() as tx:
            unfinished = productions.productions(tx, state=ProductionState.ACTIVE)
        for production in unfinished:
            _plan(catalog, production, self._max_inputs)
        ended = time.monotonic()
        self._next = ended + min(9 * (ended - began), LONGEST_PAUSE_S)
        return None


def streams_of(recipe: Recipe) -> tuple[str, ...]:
    """Return a recipe's streams in the order of their bits; without a table there is one, ``all``."""
    if recipe.table is None:
        return ("all",)
    return tuple(name for name, _ in recipe.table["streams"])


def _plan(catalog: Catalog, production: Production, max_inputs: int) -> None:
    recipe = Recipe.from_json(production.recipe)
    with catalog.read() as tx:
        answer, numbers = _ask(tx, production, recipe, max_inputs)
    if not _changes(answer, production):
        return
    *before, last = list(batches(answer.process, AT_ONCE)) or [[]]
    for piece in before:
        with catalog.write() as tx:
            if not _active(tx, production):
                return
            _add_process(tx, production, piece, numbers)
    with catalog.write() as tx:
        if not _active(tx, production):
            return
        if answer.standing is not Standing.ACTIVE:
            # A job may have been freed, or an input added, since: only what is true now may end the planning.
            answer, numbers = _ask(tx, production, recipe, max_inputs)
            last = list(answer.process)
        jobs.add_jobs(
            tx,
            production.id,
            Kind.COMPARE,
            [jobs.NewJob(one.key, _ids(numbers, one.files)) for one in answer.compare],
            priority=production.priority,
        )
        _add_process(tx, production, last, numbers)
        _add_merges(tx, production, answer.merge, numbers)
        productions.set_production_state(tx, production.id, _STATES[answer.standing], why=_why(answer))
        reach("plan.open")
    reach("plan.durable")


def _active(tx: Transaction, production: Production) -> bool:
    """Whether it was neither paused nor cancelled since."""
    return productions.get(tx, production.name).state == ProductionState.ACTIVE


def _add_process(
    tx: Transaction, production: Production, new: Sequence[Process], numbers: Mapping[str, int]
) -> None:
    made = [jobs.NewJob(one.file, _ids(numbers, (one.file,))) for one in new]
    jobs.add_jobs(tx, production.id, Kind.PROCESS, made, priority=production.priority)


def _add_merges(
    tx: Transaction, production: Production, new: Sequence[Merge], numbers: Mapping[str, int]
) -> None:
    count = Counter(key.partition("/")[0] for key in status.states_by_key(tx, production.id, Kind.MERGE))
    made = []
    for one in new:
        count[one.stream] += 1
        spec = {"stream": one.stream, "number": count[one.stream]}
        made.append(jobs.NewJob(one.key, _ids(numbers, one.files), spec))
    jobs.add_jobs(tx, production.id, Kind.MERGE, made, priority=production.priority)


def _changes(answer: Plan, production: Production) -> bool:
    return bool(answer.compare or answer.process or answer.merge) or (
        (_STATES[answer.standing], _why(answer)) != (production.state, production.why)
    )


def _why(answer: Plan) -> str | None:
    return "; ".join(answer.reasons[:5]) or None


def _ask(
    tx: Transaction, production: Production, recipe: Recipe, max_inputs: int
) -> tuple[Plan, dict[str, int]]:
    """Read what the plan needs, and return its answer with the row numbers of all files it can name."""
    sections = planning.input_sections(tx, production.id)
    found = planning.inputs(tx, production.id)
    numbers = {one.name: one.file for one in found}
    menus = triggers.menus_of(tx, production.id) if recipe.table is not None else {}
    if len(menus) > 1 and all(_intake(one) not in (Fate.ABSENT, Fate.WAITING) for one in found):
        return Plan(Standing.STALLED, reasons=(_disagree(menus),)), numbers
    outputs = []
    for out in planning.stream_outputs(tx, production.id):
        numbers[out.name] = out.file
        outputs.append(Output(out.name, out.source_name, out.stream, out.bytes, taken=out.taken))
    merges = status.job_counts(tx, production.id).get(Kind.MERGE, {})
    inputs = [
        Input(
            one.name,
            _intake(one),
            Fate.ABSENT if one.process is None else _FATES[JobState(one.process)],
            sections.get(one.file, ()),
            _wrong(one),
        )
        for one in found
    ]
    compared = {
        key: _FATES[JobState(state)]
        for key, state in status.states_by_key(tx, production.id, Kind.COMPARE).items()
    }
    answer = plan(
        inputs,
        outputs,
        streams=streams_of(recipe),
        compared=compared,
        merges_waiting=sum(
            merges.get(state, 0) for state in (JobState.READY, JobState.LEASED, JobState.PAUSED)
        ),
        merges_held=merges.get(JobState.HELD, 0),
        target=recipe.merge or None,
        max_inputs=max_inputs,
    )
    return answer, numbers


def _intake(one: planning.Input) -> Fate:
    if one.state in READABLE or (one.state == FileState.RETIRED and one.process == JobState.DONE):
        return Fate.DONE
    if one.state in (FileState.BAD, FileState.RETIRED) or one.intake == JobState.HELD:
        return Fate.HELD
    return Fate.WAITING


def _wrong(one: planning.Input) -> str:
    if one.state == FileState.RETIRED:
        # It is another production's output: a raw file that was retired is no input any more.
        return f"was withdrawn: {one.why}; when it is made again, run this production's script again"
    if one.state == FileState.BAD:
        return f"is bad: {one.why or 'no reason is given'}"
    return "could not be looked into: its intake job is held" if one.intake == JobState.HELD else ""


def _ids(numbers: Mapping[str, int], names: Sequence[str]) -> tuple[int, ...]:
    return tuple(numbers[name] for name in names)


def _disagree(menus: Mapping[str, Sequence[str]]) -> str:
    groups = " | ".join(f"{', '.join(files)} ({digest[:8]})" for digest, files in menus.items())
    return f"its inputs carry {len(menus)} different trigger menus: {groups}; make one production of each"
