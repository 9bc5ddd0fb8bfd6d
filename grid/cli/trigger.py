"""``grid trigger``: trigger tables, which say what path goes to what stream."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grid.cli import show
from grid.cli.place import DryRun, Json, Place
from sitecfg.errors import TriggerTableError, UsageError

if TYPE_CHECKING:
    from grid.trigger import TriggerTable

__all__ = ["app"]

app = typer.Typer(help="Trigger tables: which paths make which stream.", no_args_is_help=True)

Which = Annotated[
    str, typer.Argument(metavar="TABLE", help="A table's file (.toml), or NAME/TAG of an imported one.")
]


@app.command("import")
def trigger_import(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="The table, as TOML.")],
    dry_run: DryRun = False,
) -> None:
    """Make a table known to this home; it never changes once a production has used it."""
    from grid.trigger import TriggerTable

    table = TriggerTable.from_toml(file)
    if dry_run:
        show.line(f"{table.label} is well formed: {len(table.streams)} streams, hash {table.hash[:12]}")
        return
    with Place.of(context).gateway() as gateway:
        gateway.post("/triggers", table.to_json())
    show.line(f"{table.label} is known: {len(table.streams)} streams, hash {table.hash[:12]}")


@app.command("list")
def trigger_list(context: typer.Context, as_json: Json = False) -> None:
    """List the tables that this home knows."""
    from catalog import triggers

    with Place.of(context).catalog() as catalog, catalog.read() as tx:
        tables = triggers.tables(tx)
    if as_json:
        show.as_json([{"table": str(one), "hash": one.hash, "state": one.state} for one in tables])
        return
    show.table(("table", "state", "hash"), [(str(one), one.state, one.hash[:12]) for one in tables])


@app.command("show")
def trigger_show(context: typer.Context, which: Which, as_json: Json = False) -> None:
    """Print a table: its streams, their globs, its prescales."""
    table = find_table(context, which)
    if as_json:
        show.as_json({**table.to_json(), "hash": table.hash})
        return
    show.line(f"{table.label}  {table.description}".rstrip())
    show.table(("stream", "paths"), [(name, " ".join(globs)) for name, globs in table.streams.items()])
    if table.prescales:
        show.table(("path", "prescale"), list(table.prescales.items()))


@app.command("diff")
def trigger_diff(context: typer.Context, old: Which, new: Which, as_json: Json = False) -> None:
    """Say in words what differs between two tables."""
    from grid.trigger import diff

    lines = diff(find_table(context, old), find_table(context, new))
    if as_json:
        show.as_json(list(lines))
        return
    for line in lines or ("no difference",):
        show.line(line)


@app.command("check")
def trigger_check(
    context: typer.Context,
    which: Which,
    files: Annotated[list[Path], typer.Argument(help="ROOT files whose trigger bits the table must fit.")],
    as_json: Json = False,
) -> None:
    """Check that every bit and glob of a table matches the trigger bits of files."""
    from grid.rootio.menu import file_menu

    table = find_table(context, which)
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
def trigger_from_file(
    file: Annotated[Path, typer.Argument(help="A ROOT file with HLT branches.")],
    name: Annotated[str, typer.Option("--name", help="Name of the table.")],
    tag: Annotated[int, typer.Option("--tag", help="Tag of the table.")] = 1,
    streams: Annotated[
        list[str] | None,
        typer.Option(
            "--stream", help="NAME=GLOB[,GLOB…]; may be given often. Without: one for each family of paths."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write the TOML; stdout if not given.")
    ] = None,
) -> None:
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


def find_table(context: typer.Context, which: str) -> TriggerTable:
    """Return a table by its file or by NAME/TAG."""
    from catalog import triggers
    from grid.trigger import TriggerTable

    path = Path(which)
    if path.suffix == ".toml" or path.is_file():
        return TriggerTable.from_toml(path)
    name, slash, tag = which.rpartition("/")
    if not slash or not tag.isdigit():
        raise TriggerTableError(
            "this is neither a table's file nor NAME/TAG", where=which, todo="see 'grid trigger list'"
        )
    with Place.of(context).catalog() as catalog, catalog.read() as tx:
        return TriggerTable.from_json(triggers.table(tx, name, int(tag)).document)


def _streams(given: list[str]) -> dict[str, list[str]]:
    answer = {}
    for one in given:
        name, equals, globs = one.partition("=")
        if not equals or not globs:
            raise UsageError("a stream is written NAME=GLOB[,GLOB]", where=f"--stream {one}")
        answer[name] = globs.split(",")
    return answer
