"""``grid config``: what the settings are and where each comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from grid.cli import show
from grid.cli.place import Json, Place

__all__ = ["app"]

app = typer.Typer(help="The site's settings.", no_args_is_help=True)


@app.command("show")
def config_show(
    context: typer.Context,
    keys: Annotated[list[str] | None, typer.Argument(help="Only keys that begin with these.")] = None,
    describe: Annotated[bool, typer.Option("--describe", help="Say what each key means.")] = False,
    as_json: Json = False,
) -> None:
    """Print each value, and the file or variable that it came from."""
    from sitecfg.show import shown

    settings = [
        one
        for one in shown(Place.of(context).settings())
        if not keys or any(one.key.startswith(key) for key in keys)
    ]
    if as_json:
        show.as_json(
            {
                one.key: {"value": one.value, "origin": one.origin, "description": one.description}
                for one in settings
            }
        )
        return
    if describe:
        show.table(
            ("key", "value", "origin", "meaning"),
            [(one.key, one.text, one.origin, one.description) for one in settings],
        )
    else:
        show.table(("key", "value", "origin"), [(one.key, one.text, one.origin) for one in settings])
