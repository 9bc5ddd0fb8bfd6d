"""Reconstruct one input file with the user's code, or leave it as it is, and split it by trigger bit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from grid.steps.outputs import Targets
from grid.steps.program import at_fault, run_program
from grid.steps.recipe import Recipe
from grid.steps.reread import check_bytes
from sitecfg.names import Name, output_dataset, output_file, unmerged_dataset

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["provenance", "run"]


def run(spec: dict[str, Any], progress: Callable[[int, int], None]) -> dict[str, Any]:
    """Write one output per stream, also when it is empty, and book every event of the input.

    Parameters
    ----------
    spec
        ``production``, ``scope``, ``streams``, ``recipe``, ``recipe_hash``, ``inputs`` (one) and ``attempt``.
    progress
        Called with ``(done, total)``.

    Raises
    ------
    GridError
        Of the kind that fits; then no output is left.
    """
    from grid.rootio.split import SplitRecipe, split
    from grid.steps.conditions import load_conditions
    from grid.storage.fetch import local_copy
    from grid.storage.steady import untouched
    from grid.trigger import TriggerTable

    recipe = Recipe.from_json(spec["recipe"])
    (source,) = spec["inputs"]
    here = spec["attempt"]
    scripts = Path(here["scripts"])
    how = SplitRecipe(
        table=TriggerTable.from_json(recipe.table) if recipe.table is not None else None,
        event_trees=recipe.tree,
        identity=recipe.identity,
        keep=recipe.keep,
        on_refused=recipe.on_refused,
        compression=recipe.compression or None,
        memory_bytes=here["memory"],
        format=recipe.format or None,
        conditions=load_conditions(scripts, recipe.conditions),
    )
    targets = Targets(here)
    dataset = unmerged_dataset if recipe.merge else output_dataset
    short = Name.parse(source["name"]).name.removeprefix(f"{spec['production']}--")
    places = {
        stream: targets.target(
            dataset(spec["scope"], spec["production"], stream), output_file(spec["production"], stream, short)
        )
        for stream in spec["streams"]
    }
    with (
        targets.undone_on_error(),
        local_copy(source["urls"][0], Path(here["scratch"]), progress) as path,
        untouched(path, where=source["urls"][0]),
    ):
        check_bytes(path, source, where=source["urls"][0])
        made = _made(recipe, path, here, progress)
        with at_fault(made, path):
            report = split(
                path,
                {stream: place.temp for stream, place in places.items()},
                how,
                process=_function(recipe, scripts),
                record=provenance(spec),
                origin=source["xxh3"],
                made=made,
                progress=progress,
            )
        outputs = [
            targets.publish(places[one.stream], one.to_json(), parents=[source["name"]])
            for one in report.outputs
        ]
    return {
        "books": [one.to_json() for one in report.books],
        "dropped": report.dropped.to_json(),
        "outputs": outputs,
        "overlap": [list(row) for row in report.overlap],
        "notes": [
            *report.notes,
            *(f"left out {tree}: {branch}: {why}" for tree, branch, why in report.dropped_branches),
        ],
    }


def provenance(spec: dict[str, Any]) -> dict[str, Any]:
    """Return what every output carries about what made it; nothing in it depends on when or where that was."""
    from grid.steps.release import release_digest

    recipe = spec["recipe"]
    return {
        "production": spec["production"],
        "recipe": spec["recipe_hash"],
        "script": recipe["script"],
        "command": recipe.get("command", []),
        "release": recipe["release"],
        "release_digest": release_digest(),
        "conditions": recipe["conditions"],
        "parents": [{"name": one["name"], "xxh3": one["xxh3"]} for one in spec["inputs"]],
    }


def _made(
    recipe: Recipe, path: Path, here: dict[str, Any], progress: Callable[[int, int], None]
) -> Path | None:
    """Have the recipe's program, if there is one, make a file of the input."""
    if not recipe.command:
        return None
    target = Path(here["scratch"]) / "output.root"
    constants = Path(here["scripts"]) / f"{recipe.conditions}.conditions" if recipe.conditions else None
    run_program(recipe.command, path, target, conditions=constants, progress=progress)
    return target


def _function(recipe: Recipe, scripts: Path) -> Callable[..., Any] | None:
    from grid.steps.usercode import UserCode, load

    if not recipe.function:
        return None
    return load(UserCode(recipe.function, digest=recipe.script, module=recipe.module), scripts)
