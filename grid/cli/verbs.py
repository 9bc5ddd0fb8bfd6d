"""The verbs of ``grid``: each is imported, and its options are read, when somebody asks for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, Final, cast

import typer
from typer.core import TyperGroup

__all__ = ["Verbs"]

_LOCAL, _FARM, _WORK, _DATA = "Files, without a catalog", "The farm", "Productions", "Data"
#: Where each verb stands in the help, and in the code: a module of this folder, and a function or group in it.
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


class Verbs(TyperGroup):
    """The group of all verbs."""

    def __init__(self, **how: Any) -> None:
        super().__init__(**how)
        self.commands = cast("Any", _Made())


class _Made(Mapping[str, Any]):
    """The verbs by name, each made when it is first looked up.

    Their own help is plain text: importing what makes it coloured takes as long as all the rest.
    """

    def __init__(self) -> None:
        self._made: dict[str, Any] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(_VERBS)

    def __len__(self) -> int:
        return len(_VERBS)

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = self._make(name, *_VERBS[name])
        return self._made[name]

    def _make(self, name: str, panel: str, module: str, member: str) -> Any:
        found = getattr(import_module(f"grid.cli.{module}"), member)
        only = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
        if isinstance(found, typer.Typer):
            only.add_typer(found, name=name, rich_help_panel=panel)
        else:
            only.command(name, rich_help_panel=panel)(found)
        return typer.main.get_group(only).commands[name]
