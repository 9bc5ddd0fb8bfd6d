"""How answers look: plain lines and tables on a terminal, JSON for machines, errors on stderr."""

from __future__ import annotations

import functools
import json
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console
    from rich.progress import Progress

    from sitecfg.errors import GridError

__all__ = ["as_json", "bytes_bar", "error", "jobs_bar", "line", "note", "rows", "table"]

#: A pipe has no width: tables are then as wide as their content.
_WIDE = None if sys.stdout.isatty() else 1000


@functools.cache
def _console(*, stderr: bool) -> Console:
    """Return where answers, or remarks, go; rich is imported for the first one, not for every command."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, soft_wrap=True, width=None if stderr else _WIDE)


def line(text: str = "") -> None:
    """Print a line of an answer."""
    # while a bar is drawn on stderr, stdout is not what it was
    out = getattr(sys.stdout, "rich_proxied_file", sys.stdout)
    out.write(text + "\n")
    out.flush()


def note(text: str) -> None:
    """Print a remark to stderr; it is no part of the answer."""
    from rich.markup import escape

    _console(stderr=True).print(escape(text), style="dim")


def as_json(value: Any) -> None:
    """Print an answer for machines, and nothing else."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def error(problem: GridError, *, as_json: bool = False) -> None:
    """Say what is wrong, where, and what to do next; to machines in one line of JSON. Both go to stderr."""
    if as_json:
        sys.stderr.write(json.dumps(problem.to_json(), default=str) + "\n")
        return
    from rich.markup import escape

    err = _console(stderr=True)
    err.print(f"[bold red]{type(problem).__name__}[/] {escape(_place(problem))}{escape(problem.what)}")
    if problem.todo:
        err.print(f"  [green]→[/] {escape(problem.todo)}")


def _place(problem: GridError) -> str:
    return f"{problem.where}: " if problem.where else ""


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """Print a table; columns of which every value is a number stand to the right."""
    from rich.markup import escape
    from rich.table import Table

    rows = [list(row) for row in rows]
    grid = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, name in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[i], (int, float)) for row in rows)
        grid.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(escape(_cell(value)) for value in row))
    _console(stderr=False).print(grid)


def rows(columns: Sequence[str], cells: Iterable[Sequence[Any]], *, as_json: bool) -> None:
    """Print a table, or its rows as JSON objects with the columns as keys."""
    if as_json:
        sys.stdout.write(json.dumps([dict(zip(columns, row, strict=True)) for row in cells], indent=2) + "\n")
    else:
        table(columns, cells)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class _Silence:
    """A progress bar that nobody sees."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add_task(self, *_: Any, **__: Any) -> Any:
        return None

    def update(self, *_: Any, **__: Any) -> None:
        pass

    def remove_task(self, *_: Any) -> None:
        pass


def bytes_bar(*, quiet: bool = False) -> Progress | _Silence:
    """Return a progress bar in bytes; plain silence where stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        return _Silence()  # importing the other takes longer than many a merge
    from rich.progress import BarColumn, Progress, TextColumn, TransferSpeedColumn

    return Progress(
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"),
        TransferSpeedColumn(), console=_console(stderr=True), transient=True,
    )  # fmt: skip


def jobs_bar(*, quiet: bool = False) -> Progress:
    """Return a progress bar in jobs; plain silence where stderr is no terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    err = _console(stderr=True)
    return Progress(
        TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[remark]}"), console=err, disable=quiet or not err.is_terminal,
    )  # fmt: skip
