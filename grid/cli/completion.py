"""``grid --install-completion, --show-completion``: what makes a shell complete verbs, options and files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click

from sitecfg.errors import UsageError

__all__ = ["INSTALL_COMPLETION", "SHOW_COMPLETION"]

#: For each shell a file that it reads, below the user's home, and what that file has to say.
_SHELLS: Final = {
    "bash": (".bashrc", 'eval "$(_GRID_COMPLETE=bash_source grid)"'),
    "fish": (".config/fish/completions/grid.fish", "_GRID_COMPLETE=fish_source grid | source"),
    "zsh": (".zshrc", 'eval "$(_GRID_COMPLETE=zsh_source grid)"'),
}


def _shell() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in _SHELLS:
        raise UsageError(
            "nothing is known about completion in this shell",
            where=f"$SHELL is {name!r}",
            todo=f"set it to one of {', '.join(_SHELLS)}",
        )
    return name


def _install(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from grid.rootio.outfile import output_error

    name, line = _SHELLS[_shell()]
    file = Path.home() / name
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a+", encoding="utf-8", errors="surrogateescape") as stream:
            stream.seek(0)
            if line not in stream.read().splitlines():
                stream.write(f"\n{line}\n")
    except OSError as error:
        raise output_error(error, file) from error
    click.echo(f"{file} has it: the next shell that you start completes what grid is to do")
    context.exit()


def _show(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if not wanted or context.resilient_parsing:
        return
    from click.shell_completion import get_completion_class

    shell = get_completion_class(_shell())
    assert shell is not None
    click.echo(shell(context.command, {}, "grid", "_GRID_COMPLETE").source())
    context.exit()


INSTALL_COMPLETION: Final = click.option(
    "--install-completion",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_install,
    help="Install completion for the shell that $SHELL names.",
)
SHOW_COMPLETION: Final = click.option(
    "--show-completion",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show,
    help="Show completion for that shell, to copy it or customize the installation.",
)
