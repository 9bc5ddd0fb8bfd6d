"""``grid pause, resume, priority, cancel, invalidate, dataset``: what an operator does to work and to files."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from grid.cli import show
from grid.cli.place import DryRun, Json, Place
from sitecfg.errors import UsageError

__all__ = ["cancel", "dataset", "invalidate", "pause", "priority", "resume"]

What = Annotated[str, typer.Argument(help="A production's name, or a file (SCOPE:NAME).")]
Why = Annotated[str, typer.Option("--why", help="The reason, for those who look later.")]

dataset = typer.Typer(name="dataset", help="Close datasets, and open them again.", no_args_is_help=True)


def pause(
    context: typer.Context,
    what: What,
    why: Why = "an operator paused it",
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Start nothing more of a production, or of a file's jobs; what runs comes to its end and counts."""
    answer = _operate(context, "pause", {"what": what, "why": why}, dry_run)
    _say(answer, f"{answer['paused']} jobs wait until: grid resume {what}", as_json)


def resume(context: typer.Context, what: What, dry_run: DryRun = False, as_json: Json = False) -> None:
    """Let a paused production, or a file's paused jobs, go on when a farm runs."""
    answer = _operate(context, "resume", {"what": what}, dry_run)
    _say(answer, f"{answer['resumed']} jobs are ready again", as_json)


def priority(
    context: typer.Context,
    what: What,
    number: Annotated[int, typer.Argument(metavar="NUMBER", help="More goes first; 0 is usual.")],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Put a production, or the jobs of a file, before or behind other work. Before a negative number goes `--`."""
    answer = _operate(context, "priority", {"what": what, "priority": number}, dry_run)
    _say(answer, f"{answer['jobs']} jobs have priority {number}", as_json)


def cancel(
    context: typer.Context,
    what: What,
    why: Why,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Also take back what the production has committed.")
    ] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Give up what isn't done: of a production for ever, or the use of an input file that isn't processed.

    What is committed stays, unless it is withdrawn. Either way the books close.
    """
    answer = _operate(context, "cancel", {"what": what, "why": why, "withdraw": withdraw}, dry_run)
    text = f"{answer['cancelled']} jobs are cancelled, {len(answer['withdrawn'])} files withdrawn"
    _say(answer, text, as_json)


def invalidate(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="SCOPE:NAME", help="A file.")],
    why: Why,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Take a file out of use with all that was made from it, after showing which files that are.

    An output is made again, and merged files are merged again from what remains, when a farm runs next. Withdrawn
    files stay on disk, listed in datasets whose names end in `.withdrawn`.
    """
    body = {"what": what, "why": why}
    answer = _operate(context, "invalidate", body, dry_run=True)
    if not as_json:
        show.line(f"{what}, and what was made from it, {len(answer['withdrawn'])} files:")
        for name in answer["withdrawn"]:
            show.line(f"  {name}")
    if dry_run:
        if as_json:
            show.as_json(answer)
        return
    if not yes:
        if not sys.stdin.isatty():
            raise UsageError("nobody is there to confirm it", where=what, todo="say --yes")
        typer.confirm("Withdraw them?", abort=True, err=True)
    # By its number: should the reply be lost, what was made in its place keeps its name.
    done = _operate(context, "invalidate", {**body, "file": answer["file"]}, dry_run=False)
    _say(done, f"{len(done['withdrawn'])} files are withdrawn, {done['jobs']} jobs undone", as_json)


@dataset.command()
def close(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SCOPE:NAME", help="A dataset.")],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Add no more files to a dataset. Until then each file that is declared in it becomes work for its productions."""
    _set(context, name, "closed", dry_run=dry_run, as_json=as_json)


@dataset.command("open")
def reopen(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="SCOPE:NAME", help="A dataset.")],
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Let a closed dataset grow again."""
    _set(context, name, "open", dry_run=dry_run, as_json=as_json)


def _set(context: typer.Context, name: str, state: str, *, dry_run: bool, as_json: bool) -> None:
    answer = _operate(context, "dataset", {"what": name, "state": state}, dry_run)
    _say(answer, f"{name} is {state}; it was {answer['was']}", as_json)


def _operate(context: typer.Context, name: str, body: dict[str, Any], dry_run: bool) -> dict[str, Any]:
    place = Place.of(context)
    if dry_run:
        from grid.farm.operation import OPERATIONS

        with place.catalog() as catalog, catalog.rehearse() as tx:
            return OPERATIONS[name](tx, **body)
    with place.gateway() as gateway:
        answer: dict[str, Any] = gateway.post(f"/{name}", body)
        return answer


def _say(answer: dict[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        show.as_json(answer)
    else:
        show.line(text)
