"""``grid trigger``: trigger tables, which say what path goes to what stream."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from grid.cli import show
from grid.cli.options import ADDRESS, DRY_RUN, JSON, PATH
from grid.cli.verbs import Group
from sitecfg.errors import TriggerTableError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grid.cli.place import Place
    from grid.trigger import TriggerTable

__all__ = ["app"]

app = Group("trigger", help="Trigger tables: which paths make which stream.")

_TABLE: Final[dict[str, Any]] = {
    "metavar": "TABLE",
    "type": ADDRESS,
    "help": "A table's file (.toml), or NAME/TAG of an imported one.",
}


@app.command("import")
@click.argument("file", type=PATH, help="The table, as TOML.")
@DRY_RUN
@click.pass_obj
def trigger_import(place: Place, file: Path, dry_run: bool) -> None:
    """Make a table known to this home; it never changes once a production has used it."""
    from grid.trigger import TriggerTable

    table = TriggerTable.from_toml(file)
    if dry_run:
        show.line(f"{table.label} is well formed: {len(table.streams)} streams, hash {table.hash[:12]}")
        return
    with place.gateway() as gateway:
        gateway.post("/triggers", table.to_json())
    show.line(f"{table.label} is known: {len(table.streams)} streams, hash {table.hash[:12]}")


@app.command("list")
@JSON
@click.pass_obj
def trigger_list(place: Place, as_json: bool) -> None:
    """List the tables that this home knows."""
    from catalog import triggers

    with place.catalog() as catalog, catalog.read() as tx:
        tables = triggers.tables(tx)
    if as_json:
        show.as_json([{"table": str(one), "hash": one.hash, "state": one.state} for one in tables])
        return
    show.table(("table", "state", "hash"), [(str(one), one.state, one.hash[:12]) for one in tables])


@app.command("show")
@click.argument("which", **_TABLE)
@JSON
@click.pass_obj
def trigger_show(place: Place, which: str, as_json: bool) -> None:
    """Print a table: its streams, their globs, its prescales."""
    table = find_table(place, which)
    if as_json:
        show.as_json({**table.to_json(), "hash": table.hash})
        return
    show.line(f"{table.label}  {table.description}".rstrip())
    show.table(("stream", "paths"), [(name, " ".join(globs)) for name, globs in table.streams.items()])
    if table.prescales:
        show.table(("path", "prescale"), list(table.prescales.items()))


@app.command("diff")
@click.argument("old", **_TABLE)
@click.argument("new", **_TABLE)
@JSON
@click.pass_obj
def trigger_diff(place: Place, old: str, new: str, as_json: bool) -> None:
    """Say in words what differs between two tables."""
    from grid.trigger import diff

    lines = diff(find_table(place, old), find_table(place, new))
    if as_json:
        show.as_json(list(lines))
        return
    for line in lines or ("no difference",):
        show.line(line)


@app.command("check")
@click.argument("which", **_TABLE)
@click.argument(
    "files", nargs=-1, required=True, type=PATH, help="ROOT files whose trigger bits the table must fit."
)
@JSON
@click.pass_obj
def trigger_check(place: Place, which: str, files: tuple[Path, ...], as_json: bool) -> None:
    """Check that every bit and glob of a table matches the trigger bits of files."""
    from grid.rootio.menu import file_menu

    table = find_table(place, which)
    answer: dict[str, Any] = {}
    for file in files:
        menu = file_menu(file)
        resolved = table.resolve(menu)
        answer[str(file)] = {
            "paths": {name: list(paths) for name, paths in resolved.stream_paths().items()},
            "notes": list(table.changes(menu)),
        }
    if as_json:
        show.as_json(answer)
        return
    for name, one in answer.items():
        show.line(f"{name}: fits")
        show.table(
            ("stream", "paths", "first"), [(s, len(p), " ".join(p[:3])) for s, p in one["paths"].items()]
        )
        for note in one["notes"]:
            show.line(f"  {note}")


@app.command("from-file")
@click.argument("file", type=PATH, help="A ROOT file with HLT branches.")
@click.option("--name", required=True, help="Name of the table.")
@click.option("--tag", default=1, help="Tag of the table.")
@click.option(
    "--stream",
    "streams",
    multiple=True,
    help="NAME=GLOB[,GLOB…]; may be given often. Without: one for each family of paths.",
)
@click.option("--out", "-o", type=PATH, help="Where to write the TOML; stdout if not given.")
def trigger_from_file(file: Path, name: str, tag: int, streams: tuple[str, ...], out: Path | None) -> None:
    """Make a table out of a file's own trigger bits."""
    from grid.rootio.menu import file_menu
    from grid.rootio.outfile import output_error
    from grid.trigger import TriggerTable
    from grid.trigger.toml import to_toml

    table = TriggerTable.from_menu(name, tag, file_menu(file), streams=_streams(streams) if streams else None)
    text = to_toml(table)
    if out is None:
        sys.stdout.write(text)
    else:
        try:
            with out.open("x") as stream:
                stream.write(text)
        except OSError as error:
            raise output_error(error, out) from error
        show.line(f"{out}: {len(table.streams)} streams")


def find_table(place: Place, which: str) -> TriggerTable:
    """Return a table by its file or by NAME/TAG."""
    from grid.trigger import TriggerTable

    path = Path(which)
    if path.suffix == ".toml" or path.is_file():
        return TriggerTable.from_toml(path)
    name, slash, tag = which.rpartition("/")
    if not slash or not tag.isdigit():
        raise TriggerTableError(
            "this is neither a table's file nor NAME/TAG", where=which, todo="see 'grid trigger list'"
        )
    from catalog import triggers

    with place.catalog() as catalog, catalog.read() as tx:
        return TriggerTable.from_json(triggers.table(tx, name, int(tag)).document)


def _streams(given: Sequence[str]) -> dict[str, list[str]]:
    answer = {}
    for one in given:
        name, equals, globs = one.partition("=")
        if not equals or not globs:
            raise UsageError("a stream is written NAME=GLOB[,GLOB]", where=f"--stream {one}")
        answer[name] = globs.split(",")
    return answer
