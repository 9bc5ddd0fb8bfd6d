"""The verbs of ``grid``: each is imported, and its options are read, when somebody asks for it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from importlib import import_module
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final, cast

import click

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["Group", "Verbs"]

_LOCAL, _FARM, _WORK, _DATA = "Files, without a catalog", "The farm", "Productions", "Data"
#: Where each verb stands in the help, and in the code: a module of this folder, and a command or group in it.
_VERBS: Final = {
    "verify": (_LOCAL, "files", "verify"),
    "split": (_LOCAL, "files", "split"),
    "merge": (_LOCAL, "files", "merge"),
    "run": (_WORK, "run", "run"),
    "status": (_WORK, "work", "status"),
    "retry": (_WORK, "work", "retry"),
    "log": (_WORK, "work", "log"),
    "pause": (_WORK, "operate", "pause"),
    "resume": (_WORK, "operate", "resume"),
    "priority": (_WORK, "operate", "priority"),
    "cancel": (_WORK, "operate", "cancel"),
    "audit": (_WORK, "data", "audit"),
    "trigger": (_WORK, "trigger", "app"),
    "declare": (_DATA, "work", "declare"),
    "dataset": (_DATA, "operate", "dataset"),
    "invalidate": (_DATA, "operate", "invalidate"),
    "ls": (_DATA, "data", "ls"),
    "get": (_DATA, "data", "get"),
    "links": (_DATA, "data", "links"),
    "init": (_FARM, "farm", "init"),
    "up": (_FARM, "farm", "up"),
    "down": (_FARM, "farm", "down"),
    "doctor": (_FARM, "farm", "doctor"),
    "config": (_FARM, "config", "app"),
    "catalog": (_FARM, "catalog", "app"),
}


class Group(click.Group):
    """A group whose verbs are listed as they were written."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- what click calls
        """Return the names of the verbs."""
        return list(self.commands)


class Verbs(Group):
    """The group of all verbs, which its help shows in sections."""

    def __init__(self, *args: Any, **how: Any) -> None:
        super().__init__(*args, **how)
        self.commands = cast("MutableMapping[str, click.Command]", _Imported())

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each section, and of each verb the first paragraph of its help."""
        every = self.list_commands(ctx)
        width = max(map(len, every))
        for section, names in groupby(every, key=lambda name: _VERBS[name][0]):
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), _first_words(self.commands[name])) for name in names])


class _Imported(Mapping[str, click.Command]):
    """The verbs by name, each imported when it is looked up."""

    def __iter__(self) -> Iterator[str]:
        return iter(_VERBS)

    def __len__(self) -> int:
        return len(_VERBS)

    def __getitem__(self, name: str) -> click.Command:
        _, module, member = _VERBS[name]
        command: click.Command = getattr(import_module(f"grid.cli.{module}"), member)
        return command


def _first_words(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").partition("\n\n")[0]
