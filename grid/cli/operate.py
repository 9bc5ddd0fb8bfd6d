"""``grid pause, resume, priority, cancel, invalidate, dataset``: what an operator does to work and to files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

import click

from grid.cli import show
from grid.cli.options import DRY_RUN, JSON
from grid.cli.verbs import Group
from sitecfg.errors import UsageError

if TYPE_CHECKING:
    from grid.cli.place import Place

__all__ = ["cancel", "dataset", "invalidate", "pause", "priority", "resume"]

WHAT: Final = click.argument("what", help="A production's name, or a file (SCOPE:NAME).")
DATASET: Final = click.argument("name", metavar="SCOPE:NAME", help="A dataset.")
WHY: Final = click.option("--why", required=True, help="The reason, for those who look later.")

dataset = Group("dataset", help="Close datasets, and open them again.")


@click.command()
@WHAT
@click.option("--why", default="an operator paused it", help="The reason, for those who look later.")
@DRY_RUN
@JSON
@click.pass_obj
def pause(place: Place, what: str, why: str, dry_run: bool, as_json: bool) -> None:
    """Start nothing more of a production, or of a file's jobs; what runs comes to its end and counts."""
    answer = _operate(place, "pause", {"what": what, "why": why}, dry_run)
    _say(answer, f"{answer['paused']} jobs wait until: grid resume {what}", as_json)


@click.command()
@WHAT
@DRY_RUN
@JSON
@click.pass_obj
def resume(place: Place, what: str, dry_run: bool, as_json: bool) -> None:
    """Let a paused production, or a file's paused jobs, go on when a farm runs."""
    answer = _operate(place, "resume", {"what": what}, dry_run)
    _say(answer, f"{answer['resumed']} jobs are ready again", as_json)


@click.command()
@WHAT
@click.argument("number", type=int, metavar="NUMBER", help="More goes first; 0 is usual.")
@DRY_RUN
@JSON
@click.pass_obj
def priority(place: Place, what: str, number: int, dry_run: bool, as_json: bool) -> None:
    """Put a production, or the jobs of a file, before or behind other work. Before a negative number goes `--`."""
    answer = _operate(place, "priority", {"what": what, "priority": number}, dry_run)
    _say(answer, f"{answer['jobs']} jobs have priority {number}", as_json)


@click.command()
@WHAT
@WHY
@click.option("--withdraw", is_flag=True, help="Also take back what the production has committed.")
@DRY_RUN
@JSON
@click.pass_obj
def cancel(place: Place, what: str, why: str, withdraw: bool, dry_run: bool, as_json: bool) -> None:
    """Give up what isn't done: of a production for ever, or the use of an input file that isn't processed.

    What is committed stays, unless it is withdrawn. Either way the books close.
    """
    answer = _operate(place, "cancel", {"what": what, "why": why, "withdraw": withdraw}, dry_run)
    text = f"{answer['cancelled']} jobs are cancelled, {len(answer['withdrawn'])} files withdrawn"
    _say(answer, text, as_json)


@click.command()
@click.argument("what", metavar="SCOPE:NAME", help="A file.")
@WHY
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@DRY_RUN
@JSON
@click.pass_obj
def invalidate(place: Place, what: str, why: str, yes: bool, dry_run: bool, as_json: bool) -> None:
    """Take a file out of use with all that was made from it, after showing which files that are.

    An output is made again, and merged files are merged again from what remains, when a farm runs next. Withdrawn
    files stay on disk, listed in datasets whose names end in `.withdrawn`.
    """
    body = {"what": what, "why": why}
    answer = _operate(place, "invalidate", body, dry_run=True)
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
        click.confirm("Withdraw them?", abort=True, err=True)
    # By its number: should the reply be lost, what was made in its place keeps its name.
    done = _operate(place, "invalidate", {**body, "file": answer["file"]}, dry_run=False)
    _say(done, f"{len(done['withdrawn'])} files are withdrawn, {done['jobs']} jobs undone", as_json)


@dataset.command()
@DATASET
@DRY_RUN
@JSON
@click.pass_obj
def close(place: Place, name: str, dry_run: bool, as_json: bool) -> None:
    """Add no more files to a dataset. Until then each file that is declared in it becomes work for its productions."""
    _set(place, name, "closed", dry_run=dry_run, as_json=as_json)


@dataset.command("open")
@DATASET
@DRY_RUN
@JSON
@click.pass_obj
def reopen(place: Place, name: str, dry_run: bool, as_json: bool) -> None:
    """Let a closed dataset grow again."""
    _set(place, name, "open", dry_run=dry_run, as_json=as_json)


def _set(place: Place, name: str, state: str, *, dry_run: bool, as_json: bool) -> None:
    answer = _operate(place, "dataset", {"what": name, "state": state}, dry_run)
    _say(answer, f"{name} is {state}; it was {answer['was']}", as_json)


def _operate(place: Place, name: str, body: dict[str, Any], dry_run: bool) -> dict[str, Any]:
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
