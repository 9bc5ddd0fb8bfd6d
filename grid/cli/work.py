"""``grid declare, status, log, retry``: what is to be done, how it goes, what went wrong."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from grid.cli import show
from grid.cli.exit_codes import BAD_FILE, UNFINISHED
from grid.cli.options import ADDRESS, DRY_RUN, JSON, QUIET, TREE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from catalog.engine import Transaction
    from grid.cli.place import Place

__all__ = ["declare", "log", "retry", "status"]


@click.command()
@click.argument("dataset", help="SCOPE:NAME of the dataset.")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=ADDRESS,
    help="Paths, globs, URLs or place://NAME/... of ROOT files.",
)
@click.option(
    "--identity",
    multiple=True,
    help="A branch that identifies an event (repeat); or 'entry'. [default: run luminosityBlock event]",
)
@TREE
@click.option("--no-wait", is_flag=True, help="Do not wait until the files have been looked into.")
@DRY_RUN
@JSON
@QUIET
@click.pass_obj
def declare(
    place: Place,
    dataset: str,
    files: tuple[str, ...],
    identity: tuple[str, ...],
    tree: tuple[str, ...],
    no_wait: bool,
    dry_run: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Make files known as a dataset: each is verified, checksummed and fingerprinted on the farm."""
    from grid.rootio.known_branches import DEFAULT_IDENTITY
    from grid.submission import named_files
    from sitecfg.names import Name

    name = Name.parse(dataset)
    named = named_files(files, place.settings().site.storage.urls())
    if dry_run:
        rows = [(f"{name.scope}:{one['name']}", one["url"]) for one in named]
        show.rows(("name", "url"), rows, as_json=as_json)
        return
    body = {
        "dataset": dataset,
        "files": named,
        "identity": list(identity or DEFAULT_IDENTITY),
        "tree": list(tree),
    }
    with place.gateway(farm=not no_wait) as gateway:
        answer = gateway.post("/declare", body)
        if not no_wait:
            answer["files"] = _wait(gateway, dataset, quiet=quiet or as_json)
    if as_json:
        show.as_json(answer)
    else:
        show.line(f"{dataset}: {answer['new']} files declared, {answer['known']} were known")
        for one in answer.get("files", []):
            events = "" if one["events"] is None else f"{one['events']:,} events"
            state = "held" if one["state"] == "closed" else one["state"]
            show.line(f"  {state:<8} {one['name']}  {events}{one['why'] or ''}")
    states = {one["state"] for one in answer.get("files", [])}
    if states & {"bad", "closed"}:
        raise Exit(BAD_FILE if "bad" in states else UNFINISHED)


def _wait(gateway: Any, dataset: str, *, quiet: bool) -> list[dict[str, Any]]:
    with show.jobs_bar(quiet=quiet) as bar:
        task = bar.add_task(f"{dataset} intake", total=None, remark="")
        while True:
            answer = gateway.get(f"/datasets/{dataset}")
            files: list[dict[str, Any]] = answer["files"]
            waiting = sum(one["state"] == "closed" for one in files) - answer["held"]
            bar.update(task, total=len(files), completed=len(files) - waiting)
            if waiting <= 0:
                return files
            time.sleep(0.2)


@click.command()
@click.argument("production", required=False, help="One production, in full.")
@JSON
@click.pass_obj
def status(place: Place, production: str | None, as_json: bool) -> None:
    """Say how far productions are, and which jobs are held and why."""
    from catalog import productions
    from grid.farm import reception

    with place.catalog() as catalog, catalog.read() as tx:
        if production is not None:
            answer = {**reception.progress(tx, production), "report": reception.report(tx, production)}
        else:
            answer = {
                "productions": [reception.progress(tx, one.name) for one in productions.productions(tx)]
            }
            answer["running"] = _running(tx)
    if as_json:
        show.as_json(answer)
    elif production is not None:
        from grid.production import Report

        _productions([answer])
        show.line(str(Report(answer["report"])))
    else:
        _productions(answer["productions"])
        if answer["running"]:
            rows = [tuple(one.values()) for one in answer["running"]]
            show.table(("job", "epoch", "worker", "host", "seconds"), rows, title="running")


def _productions(rows: Sequence[dict[str, Any]]) -> None:
    kinds = ("intake", "compare", "process", "merge")
    show.table(
        ("production", "state", *kinds, "running", "held", "why"),
        [
            (
                one["production"],
                one["state"],
                *(f"{one['done'].get(k, 0)}/{one['total'][k]}" if k in one["total"] else "-" for k in kinds),
                one["running"],
                one["held"],
                "; ".join(one["reasons"]),
            )
            for one in rows
        ],
    )


def _running(tx: Transaction) -> list[dict[str, Any]]:
    from catalog import status as ledger
    from catalog.engine import now

    at = now(tx)
    return [
        {
            "job": one.job,
            "epoch": one.epoch,
            "worker": one.worker,
            "host": one.host,
            "seconds": round(at - one.started, 1),
        }
        for one in ledger.running(tx)
    ]


@click.command()
@click.argument(
    "job", type=int, required=False, help="A job's number; without: what the farm's processes said."
)
@click.option("--lines", "-n", default=20, help="So many lines of each log.")
@JSON
@click.pass_obj
def log(place: Place, job: int | None, lines: int, as_json: bool) -> None:
    """Show every attempt of a job and what it printed, or the ends of the farm's logs."""
    from grid.farm.home import Home

    home = Home(place.home)
    if job is None:
        ends = {path.name: _end(path, lines) for path in sorted(home.log.glob("*.log"))}
        if as_json:
            show.as_json(ends)
            return
        for name, end in ends.items():
            show.line(f"== {name}")
            for line in end:
                show.line(line)
        return
    from catalog import status as ledger

    with place.catalog() as catalog, catalog.read() as tx:
        told = ledger.one_job(tx, job)
        attempts = ledger.attempts(tx, job)
    if as_json:
        show.as_json({"job": _fields(told), "attempts": [_fields(one) for one in attempts]})
        return
    show.line(
        f"job {told.id}: {told.kind} of {told.key}: {told.state}" + (f": {told.why}" if told.why else "")
    )
    for one in attempts:
        used = (
            "" if one.cpu_s is None else f", {one.cpu_s:.1f} s CPU, peak {(one.peak_rss or 0) / 1e6:.0f} MB"
        )
        show.line(f"attempt {one.epoch} on {one.host} ({one.worker}): {one.outcome}{used}")
        for text in (one.message, one.last_lines):
            for line in (text or "").splitlines():
                show.line(f"    {line}")


def _fields(row: Any) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(row)


def _end(path: Path, lines: int) -> list[str]:
    with path.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - 400 * lines))
        return stream.read().decode(errors="replace").splitlines()[-lines:]


@click.command()
@click.argument("what", help="A production's name, a file (SCOPE:NAME), or a job's number.")
@click.option("--no-wait", is_flag=True, help="Free the jobs and leave; they run when a farm does.")
@DRY_RUN
@JSON
@QUIET
@click.pass_obj
def retry(place: Place, what: str, no_wait: bool, dry_run: bool, as_json: bool, quiet: bool) -> None:
    """Free held jobs, so that they run again with their budgets of failures anew; waits for the production."""
    body: dict[str, Any] = (
        {"job": int(what)} if what.isdigit() else {"file" if ":" in what else "production": what}
    )
    if dry_run:
        show.rows(("job", "kind", "why"), _held(place, body), as_json=as_json)
        return
    waits = "production" in body and not no_wait
    with place.gateway(farm=waits) as gateway:
        answer = gateway.post("/retry", body)
        if waits:
            from grid.production import Submitted

            progress = Submitted(gateway, what, new=False).watch(
                (lambda _: None) if quiet or as_json else None
            )
            answer["state"] = progress.state
    if as_json:
        show.as_json(answer)
    else:
        show.line(
            f"{answer['freed']} jobs are free again" + (f"; {what} is {answer['state']}" if waits else "")
        )
    if waits and answer["state"] != "complete":
        raise Exit(UNFINISHED)


def _held(place: Place, body: dict[str, Any]) -> list[tuple[int, str, str | None]]:
    from catalog import find, productions
    from catalog import status as ledger
    from sitecfg.names import Name

    with place.catalog() as catalog, catalog.read() as tx:
        if "job" in body:
            found = [ledger.one_job(tx, body["job"])]
        elif "file" in body:
            name = Name.parse(body["file"])
            found = ledger.jobs(tx, file=find.file(tx, name.scope, name.name).id, states=["held"])
        else:
            found = ledger.held(tx, productions.get(tx, body["production"]).id, limit=1000)
    return [(one.id, one.kind, one.why) for one in found if one.state == "held"]
