"""Fill the reference pages with tables made from the code, so that they can't say anything else.

A page asks for a table by a line ``<!-- table: NAME -->``; a name that isn't here stops the build.
"""

from __future__ import annotations

import inspect
import re
import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin

import click
from pydantic import BaseModel

from grid.cli.exit_codes import EXIT_CODES
from grid.cli.main import app
from sitecfg.errors import GridError
from sitecfg.failures import Action, shipped
from sitecfg.load import OTHER_VARIABLES
from sitecfg.models import Site
from sitecfg.points import POINTS
from sitecfg.units import format_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sitecfg.failures import Rule

HOUSE = Path(__file__).resolve().parent.parent
MARK = re.compile(r"^<!-- table: ([a-z-]+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each mark of a page by its table (called by mkdocs)."""
    return MARK.sub(lambda mark: TABLES[mark[1]](), markdown)


def exit_codes() -> str:
    """Return each exit code and its meaning."""
    return rows(("code", "meaning"), ((f"`{code}`", meaning) for code, meaning in EXIT_CODES.items()))


def errors() -> str:
    """Return the tree of errors with exit code and class of failure."""

    def below(kind: type[GridError], depth: int) -> Iterator[tuple[str, ...]]:
        indent = "&emsp;" * depth
        yield (
            f"{indent}`{kind.__name__}`",
            f"`{kind.exit_code}`",
            f"`{kind.failure}`",
            first_line(kind.__doc__),
        )
        for child in kind.__subclasses__():
            if child.__module__ == kind.__module__:
                yield from below(child, depth + 1)

    return rows(("error", "exit code", "failure", "meaning"), below(GridError, 0))


def verbs() -> str:
    """Return every verb with its usage, arguments and options."""

    def below(context: click.Context) -> Iterator[str]:
        command = context.command
        if isinstance(command, click.Group):
            for name in sorted(command.commands):
                yield from below(click.Context(command.commands[name], context, name))
            return
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        said = inspect.cleandoc(command.help or "")
        yield f"### {context.command_path}\n\n{said}\n\n```text\n{usage}\n```\n"
        cells = (found for it in command.params if (found := it.get_help_record(context)))
        yield rows(("argument or option", "meaning"), ((f"`{name}`", text) for name, text in cells))

    return "\n\n".join(below(click.Context(app, info_name="grid", **app.context_settings)))


def failures() -> str:
    """Return the shipped failure catalogue."""
    last = {Action.HOLD: "hold the job", Action.QUARANTINE: "hold the job, put the file aside"}

    def tried(rule: Rule) -> str:
        if rule.retries is None:
            return "always"
        wait = f", first after {format_seconds(rule.first_delay)}" if rule.retries else ""
        return f"{rule.retries} times{wait}"

    cells = (
        (f"`{it.failure}`", it.why, tried(it), "" if it.retries is None else last[it.then])
        for it in shipped().values()
    )
    return rows(("class", "what it means", "tried again", "and then"), cells)


def settings() -> str:
    """Return every setting with its shipped value and its description."""
    shipped = tomllib.loads(files("sitecfg").joinpath("defaults.toml").read_text("utf-8"))

    def below(model: type[BaseModel], place: tuple[str, ...]) -> Iterator[tuple[str, str, str]]:
        for name, field in model.model_fields.items():
            here = (*place, name)
            inner = [it for it in (field.annotation, *get_args(field.annotation)) if is_model(it)]
            if inner:
                many = get_origin(field.annotation) is Mapping
                yield from below(inner[0], (*here, "NAME") if many else here)
            else:
                yield f"`{'.'.join(here)}`", value(here), field.description or ""

    def value(place: tuple[str, ...]) -> str:
        found: Any = shipped
        for name in place:
            found = found.get(name) if isinstance(found, dict) else None
        return "" if found is None else f"`{found}`"

    return rows(("setting", "shipped", "meaning"), below(Site, ()))


def variables() -> str:
    """Return the variables of ours that are no settings."""
    return rows(("variable", "meaning"), ((f"`{name}`", text) for name, text in OTHER_VARIABLES.items()))


def promises() -> str:
    """Return each promise with the file of its guard and the test that misses it."""
    guards = tomllib.loads((HOUSE / "tests" / "mutants" / "guards.toml").read_text("utf-8"))["guard"]
    return rows(
        ("promise", "guard", "test"),
        ((one["promise"], f"`{one['file']}`", f"`{one['test'].partition('::')[2]}`") for one in guards),
    )


def points() -> str:
    """Return each point at which a process is held to be killed, and what is true there."""
    return rows(
        ("point", "where, and what is true there"), ((f"`{name}`", said) for name, said in POINTS.items())
    )


def is_model(it: Any) -> bool:
    """Whether an annotation is a section of settings."""
    return isinstance(it, type) and issubclass(it, BaseModel)


def rows(heads: Iterable[str], cells: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table, or nothing where there are no rows."""
    heads = list(heads)
    body = ["| " + " | ".join(escape(cell) for cell in row) + " |" for row in cells]
    return "\n".join(["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads), *body]) if body else ""


def escape(text: str) -> str:
    """Keep a cell in its cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("``", "`")


def first_line(doc: str | None) -> str:
    """Return what a docstring says in its first line."""
    return (doc or "").strip().splitlines()[0]


TABLES: dict[str, Callable[[], str]] = {
    "errors": errors,
    "exit-codes": exit_codes,
    "failures": failures,
    "points": points,
    "promises": promises,
    "settings": settings,
    "variables": variables,
    "verbs": verbs,
}
