"""``grid config``: what the settings are and where each comes from."""

from __future__ import annotations

from typing import Annotated

import typer

from grid.cli import show
from grid.cli.place import Json, Place
from sitecfg.errors import UsageError

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
    from sitecfg.names import near
    from sitecfg.show import shown

    every = shown(Place.of(context).settings())
    for key in keys or []:
        if not any(one.key.startswith(key) for one in every):
            alike = ", ".join(near(key, [one.key for one in every])) or "none"
            raise UsageError(f"no setting begins with this; near: {alike}", where=key)
    settings = [one for one in every if not keys or one.key.startswith(tuple(keys))]
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
