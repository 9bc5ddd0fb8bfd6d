"""``grid run``: submit every production of a script, watch, report."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from grid.cli import show
from grid.cli.exit_codes import UNFINISHED
from grid.cli.options import DRY_RUN, JSON, PATH, QUIET
from sitecfg.errors import GridError, UsageError, UserCodeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from grid.cli.place import Place
    from grid.production import Production, Progress, Submitted

__all__ = ["run"]
#: Beside a bar there is room for so much of a reason.
LONGEST_REMARK = 60


@click.command()
@click.argument("script", type=PATH, help="A Python script with productions at its top level.")
@DRY_RUN
@JSON
@QUIET
@click.pass_obj
def run(place: Place, script: Path, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Submit every `Production` of a script, show how it goes, and print the report.

    Safe to interrupt and safe to repeat: the same command continues where it stopped.
    """
    productions = find_productions(script)
    if dry_run:
        _explain(place, productions, as_json=as_json)
        return
    from grid.production import connect

    with connect(place.home) as grid:
        submitted = [grid.submit(one) for one in productions]
        for one in submitted:
            show.note(f"{one.name}: {'submitted' if one.new else 'known: going on'}; home {place.home}")
        states = _watch(submitted, quiet=quiet or as_json)
        reports = [one.report() for one in submitted]
    if as_json:
        show.as_json([one.facts for one in reports])
    else:
        for report in reports:
            show.line(str(report))
        for report in reports:
            _what_next(place, report.facts)
    if any(state != "complete" for state in states):
        raise Exit(UNFINISHED)


def find_productions(script: Path) -> list[Production]:
    """Return the productions at the top level of a script: single ones, and those in lists and tuples.

    Raises
    ------
    UsageError
        There is none, or no such script.
    UserCodeError
        The script can't be imported.
    """
    from grid.production import Production
    from grid.steps.usercode import load_script

    if not script.is_file():
        raise UsageError("there is no such script", where=str(script))
    try:
        module = load_script(script)
    except GridError:
        raise
    except Exception as error:  # whatever the user's script raises
        import traceback

        traceback.print_exc()
        raise UserCodeError(
            f"the script raised {type(error).__name__}: {error}", where=str(script)
        ) from error
    found: list[Production] = []
    for value in vars(module).values():
        several = value if isinstance(value, (list, tuple)) else (value,)
        found += [one for one in several if isinstance(one, Production) and one not in found]
    if not found:
        raise UsageError(
            "the script has no Production at its top level",
            where=str(script),
            todo="write: production = Production(name=…, input=…)",
        )
    return found


def _explain(place: Place, productions: Sequence[Production], *, as_json: bool) -> None:
    from catalog import triggers
    from grid.submission import prepare

    def table(name: str, tag: int) -> dict[str, Any]:
        with place.catalog() as catalog, catalog.read() as tx:
            return dict(triggers.table(tx, name, tag).document)

    site = place.settings().site
    bodies = [prepare(one, table, site) for one in productions]
    if as_json:
        show.as_json([{key: body[key] for key in ("name", "scope", "recipe", "files")} for body in bodies])
        return
    for body in bodies:
        recipe = body["recipe"]
        streams = [name for name, _ in recipe["table"]["streams"]] if recipe["table"] else ["all"]
        show.line(f"{body['name']}: would be submitted to {place.home}")
        show.line(
            f"  input    {recipe['inputs']}" + (f" ({len(body['files'])} files)" if body["files"] else "")
        )
        show.line(f"  process  {recipe['function'] or 'nothing: events go on unchanged'}")
        show.line(f"  streams  {' '.join(streams)}")


def _watch(submitted: Sequence[Submitted], *, quiet: bool) -> list[str]:
    with show.jobs_bar(quiet=quiet) as bar:
        return [
            one.watch(_Bars(bar, one.name) if not bar.disable or quiet else None).state for one in submitted
        ]


class _Bars:
    """A bar for each kind of job of a production."""

    def __init__(self, bar: Any, name: str) -> None:
        self._bar = bar
        self._name = name
        self._tasks: dict[str, Any] = {}

    def __call__(self, progress: Progress) -> None:
        for kind, total in progress.total.items():
            if kind not in self._tasks:
                self._tasks[kind] = self._bar.add_task(f"{self._name} {kind}", total=total, remark="")
            held = f"{progress.held} held" if progress.held else "; ".join(progress.reasons)[:LONGEST_REMARK]
            self._bar.update(
                self._tasks[kind], total=total, completed=progress.done.get(kind, 0), remark=held
            )


def _what_next(place: Place, facts: dict[str, Any]) -> None:
    home = f"grid --home {shlex.quote(str(place.home))}"
    if facts["state"] == "complete":
        first = facts["streams"][0]["dataset"]
        show.line(f"next: {home} audit · {home} ls {first} · {home} links {first} DIR")
    elif facts["state"] == "cancelled":
        show.line("it was cancelled, and that is for ever: give what is to run instead another name")
    else:
        show.line(f"next: {home} status {facts['production']} · {home} retry {facts['production']}")
