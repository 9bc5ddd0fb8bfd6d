"""``grid catalog backup, restore, reconcile, check``: the catalog itself, kept and brought back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from grid.cli import show
from grid.cli.exit_codes import BROKEN
from grid.cli.options import DRY_RUN, JSON, PATH
from grid.cli.verbs import Group
from sitecfg.errors import NotFound, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from grid.cli.place import Place

__all__ = ["app"]

app = Group("catalog", help="Back the catalog up, and bring it back.")


@app.command()
@click.argument("file", type=PATH, help="A new file.")
@DRY_RUN
@JSON
@click.pass_obj
def backup(place: Place, file: Path, dry_run: bool, as_json: bool) -> None:
    """Copy the catalog, as it is at this moment, to a file; the farm may run on.

    The file is a catalog itself, in SQLite, whatever database it was taken from. Keep it on another disk.
    """
    from catalog.backup import backup as copy

    if dry_run:
        _say({"from": _shown(place), "to": str(file)}, as_json, f"would copy {_shown(place)} to {file}")
        return
    with place.catalog() as catalog:
        done = copy(catalog, file)
    _say(
        {"file": str(file), "taken": done.taken, "rows": dict(done.rows)},
        as_json,
        f"{file}: {done.rows['file']:,} files, {done.rows['job']:,} jobs, {file.stat().st_size:,} bytes",
    )


@app.command()
@click.argument("file", type=PATH, help="What `grid catalog backup` wrote.")
@DRY_RUN
@JSON
@click.pass_obj
def restore(place: Place, file: Path, dry_run: bool, as_json: bool) -> None:
    """Fill the home's catalog, which must not be there yet, from a backup. Then: grid catalog reconcile."""
    from catalog.backup import restore as fill
    from grid.farm.home import Home
    from grid.farm.session import running

    if not file.is_file():
        raise NotFound("there is no such backup", where=str(file))
    if running(Home(place.home)):
        raise UsageError("a farm runs here", where=str(place.home), todo="stop it first: grid down")
    if dry_run:
        _say({"from": str(file), "to": _shown(place)}, as_json, f"would fill {_shown(place)} from {file}")
        return
    Home(place.home).prepare()
    done = fill(file, place.settings().site.catalog.url)
    _say(
        {"file": str(file), "taken": done.taken, "rows": dict(done.rows)},
        as_json,
        f"{done.rows['file']:,} files and {done.rows['job']:,} jobs are known again",
        "nothing in the pool is removed until you say: grid catalog reconcile",
    )


@app.command()
@DRY_RUN
@JSON
@click.pass_obj
def reconcile(place: Place, dry_run: bool, as_json: bool) -> None:
    """Compare a restored catalog with the files in the pool, and go on from there.

    What was made after the backup is made again, and its old copies are removed in time. A production that was
    submitted after it has to be submitted again. Copies that are missing are named, and end this with exit code 6.
    """
    from dataclasses import asdict

    from grid.farm.reconcile import reconcile as compare

    with place.catalog() as catalog:
        found = compare(catalog, place.settings().site.pool.path, dry_run=dry_run)
    lines = [
        f"{name}: {count} files are not known, and are made again" for name, count in found.again.items()
    ]
    lines += [
        f"{name}: {count} files of a production that is not known: run its script again"
        for name, count in found.unknown.items()
    ]
    lines += [f"{found.unfinished} files were never finished"] * bool(found.unfinished)
    lines += [f"! missing, or not as long as it should be: {url}" for url in found.missing]
    lines.append("would let the sweeper work again" if dry_run else "the sweeper works again")
    _say(asdict(found), as_json, *lines)
    if found.missing:
        raise Exit(BROKEN)


@app.command()
@click.argument("file", type=PATH, required=False, help="A backup; without: the home's catalog.")
@JSON
@click.pass_obj
def check(place: Place, file: Path | None, as_json: bool) -> None:
    """Look for damage in the catalog's pages, and for any invariant that does not hold."""
    from catalog.backup import check as look
    from catalog.engine import Catalog

    if file is None:
        with place.catalog() as catalog:
            findings = [str(one) for one in look(catalog)]
    else:
        with Catalog.open(f"sqlite:///{file.absolute()}") as catalog:
            findings = [str(one) for one in look(catalog)]
    verdict = f"{len(findings)} things are wrong" if findings else "the catalog is sound"
    _say({"findings": findings}, as_json, *(f"! {one}" for one in findings), verdict)
    if findings:
        raise Exit(BROKEN)


def _shown(place: Place) -> str:
    from sitecfg.show import hide_secrets

    return hide_secrets(place.settings().site.catalog.url)


def _say(answer: dict[str, Any], as_json: bool, *lines: str) -> None:
    """Give an answer to machines, or in lines to people."""
    if as_json:
        show.as_json(answer)
        return
    for line in lines:
        show.line(line)
