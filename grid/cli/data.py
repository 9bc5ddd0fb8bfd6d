"""``grid ls, get, links, audit``: what there is, copies of it, and the proof that nothing is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from grid.cli import show
from grid.cli.options import DRY_RUN, JSON, PATH, QUIET
from sitecfg.errors import ClosureError, CorruptFile, GridError, MissingFile, OutputExists

if TYPE_CHECKING:
    from pathlib import Path

    from catalog.engine import Catalog
    from catalog.rows import Production
    from grid.cli.place import Place

__all__ = ["audit", "get", "links", "ls"]


@click.command()
@click.argument("dataset", required=False, metavar="[SCOPE:NAME]", help="A dataset; without: all of them.")
@JSON
@click.pass_obj
def ls(place: Place, dataset: str | None, as_json: bool) -> None:
    """List datasets, or the files of one with events, bytes, checksum, fingerprint and places."""
    if dataset is None:
        rows = _datasets(place)
        if as_json:
            show.as_json(rows)
        else:
            show.table(
                ("dataset", "tier", "state", "files", "events", "bytes"),
                [tuple(one.values()) for one in rows],
            )
        return
    rows = _files(place, dataset)
    if as_json:
        show.as_json(rows)
        return
    keys = ("name", "state", "locality", "events", "bytes", "adler32", "fingerprint")
    show.table(keys, [tuple(one[key] for key in keys) for one in rows])


@click.command()
@click.argument("what", metavar="SCOPE:NAME", help="A dataset, or a file.")
@click.argument("folder", type=PATH, default=".", help="Where to; made if it isn't there. [default: .]")
@DRY_RUN
@QUIET
@click.pass_obj
def get(place: Place, what: str, folder: Path, dry_run: bool, quiet: bool) -> None:
    """Copy files out under their plain names; every copy is compared with the catalog's checksum."""
    rows = _files(place, what)
    if dry_run:
        show.table(("file", "bytes"), [(folder / _plain(one), one["bytes"]) for one in rows])
        return
    folder.mkdir(parents=True, exist_ok=True)
    with show.bytes_bar(quiet=quiet) as bar:
        for one in rows:
            target = folder / _plain(one)
            task = bar.add_task(target.name, total=one["bytes"])
            _copy(one, target, lambda done, _total, task=task: bar.update(task, completed=done))
            show.line(str(target))


@click.command()
@click.argument("dataset", metavar="SCOPE:NAME", help="A dataset.")
@click.argument("folder", type=PATH, help="Where to; made if it isn't there.")
@DRY_RUN
@click.pass_obj
def links(place: Place, dataset: str, folder: Path, dry_run: bool) -> None:
    """Put a dataset into a folder under plain names, as symbolic links. Idempotent."""
    from grid.storage.fetch import local_path

    made = 0
    for one in _files(place, dataset):
        path = next((p for p in map(local_path, one["urls"]) if p is not None), None)
        if path is None:
            raise MissingFile(
                "the file has no copy on this machine", where=one["name"], todo="use 'grid get'"
            )
        link = folder / _plain(one)
        if dry_run:
            show.line(f"{link} -> {path}")
            continue
        folder.mkdir(parents=True, exist_ok=True)
        if link.is_symlink() and link.readlink() == path:
            continue
        try:
            link.symlink_to(path)
        except FileExistsError as error:
            raise OutputExists(
                "something else has this name", where=str(link), todo="choose another folder"
            ) from error
        made += 1
    if not dry_run:
        show.line(f"{made} links made in {folder}")


@click.command()
@click.argument("production", required=False, help="One production; without: all, and the whole catalog.")
@click.option("--deep", is_flag=True, help="Read every file again: bytes, events, contents.")
@JSON
@QUIET
@click.pass_obj
def audit(place: Place, production: str | None, deep: bool, as_json: bool, quiet: bool) -> None:
    """Prove from raw to merged that no event is missing and none is there twice.

    Without --deep by adding fingerprints, no file is opened. A production that isn't finished is told so, and is
    no fault; a book that doesn't close ends with exit code 6.
    """
    from catalog import invariants, productions
    from catalog.audit import audit as add_up

    with place.catalog() as catalog:
        with catalog.read() as tx:
            chosen = [productions.get(tx, production)] if production else productions.productions(tx)
            audits = [add_up(tx, one) for one in chosen]
            broken = [str(one) for one in invariants.violations(tx)] if production is None else []
        damaged = (
            [str(error) for one in chosen for error in _reread(place, catalog, one, quiet)] if deep else []
        )
    findings = [str(finding) for one in audits for finding in one.findings]
    findings += [one for one in broken if one not in findings] + damaged
    if as_json:
        from dataclasses import asdict

        show.as_json({"audits": [asdict(one) for one in audits], "findings": findings, "deep": deep})
    else:
        for one in audits:
            rows = [(s.stream, s.booked, s.written, s.merged, s.waiting) for s in one.streams]
            show.line(
                f"{one.production}: {one.processed} of {one.inputs} inputs processed; {one.events_in:,} events in ="
                f" {one.booked:,} booked ({one.in_no_stream:,} in no stream, {one.dropped:,} dropped by user code)"
            )
            show.table(("stream", "booked", "written", "merged", "waiting"), rows)
        for finding in findings:
            show.line(f"! {finding}")
        unfinished = [one.production for one in audits if not one.complete]
        if unfinished:
            show.line(f"not finished: {', '.join(unfinished)}")
        if not findings:
            how = "every file read again" if deep else "by adding, no file opened"
            show.line(f"verdict: the books close ({how})")
    if findings:
        raise ClosureError(f"{len(findings)} findings", where=str(place.home), todo=findings[0])


def _reread(place: Place, catalog: Catalog, production: Production, quiet: bool) -> list[GridError]:
    from catalog import find, planning
    from grid.farm.reception import file_row
    from grid.steps.recipe import Recipe
    from grid.steps.reread import reread

    site = place.settings().site
    recipe = Recipe.from_json(production.recipe)
    with catalog.read() as tx:
        inputs = find.files_by_id(tx, [one.file for one in planning.inputs(tx, production.id)])
        known = [*inputs.values()]
        for dataset in find.datasets(tx, production=production.id):
            known += find.files(tx, dataset.id)
    wrong = []
    with show.jobs_bar(quiet=quiet) as bar:
        task = bar.add_task("reading again", total=len(known), remark="")
        for one in known:
            if one.state != "bad" and one.xxh3 is not None:
                bar.update(task, remark=one.name)
                wrong += reread(
                    file_row(one),
                    identity=recipe.identity,
                    tree=recipe.tree,
                    scratch=site.scratch,
                    memory=site.workers.chunk,
                )
            bar.advance(task)
    return wrong


def _datasets(place: Place) -> list[dict[str, Any]]:
    from catalog import find

    rows = []
    with place.catalog() as catalog, catalog.read() as tx:
        for one in find.datasets(tx):
            files = find.files(tx, one.id)
            rows.append(
                {
                    "dataset": str(one),
                    "tier": one.tier,
                    "state": one.state,
                    "files": len(files),
                    "events": sum(file.events or 0 for file in files),
                    "bytes": sum(file.bytes or 0 for file in files),
                }
            )
    return rows


def _files(place: Place, what: str) -> list[dict[str, Any]]:
    """Return the files of a dataset, or the one file of this name."""
    from catalog import find
    from grid.farm.reception import file_row
    from sitecfg.names import Name

    name = Name.parse(what)
    with place.catalog() as catalog, catalog.read() as tx:
        dataset = find.dataset_or_none(tx, name.scope, name.name)
        if dataset is not None:
            return [file_row(one) for one in find.files(tx, dataset.id)]
        try:
            return [file_row(find.file(tx, name.scope, name.name))]
        except GridError:
            find.dataset(tx, name.scope, name.name)  # raises, and lists near names
            raise


def _plain(one: dict[str, Any]) -> str:
    return str(one["name"]).partition(":")[2]


def _copy(one: dict[str, Any], target: Path, progress: Any) -> None:
    from grid.steps.reread import check_bytes
    from grid.storage.fetch import copy_out
    from grid.storage.publish import publish
    from grid.storage.temporary import temporary_name

    if target.exists():
        raise OutputExists("the file is there already", where=str(target), todo="choose another folder")
    if one["state"] == "bad":
        raise CorruptFile("the catalog says that this file is bad", where=one["name"], todo=one["why"] or "")
    if not one["urls"]:
        raise MissingFile("the catalog knows no readable copy", where=one["name"])
    temp = temporary_name(target)
    try:
        copy_out(one["urls"][0], temp, progress)
        check_bytes(temp, one, where=one["urls"][0])
        publish(temp, target)
    finally:
        temp.unlink(missing_ok=True)
