"""``grid config``: what the settings are and where each comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from grid.cli import show
from grid.cli.options import JSON
from grid.cli.verbs import Group
from sitecfg.errors import UsageError

if TYPE_CHECKING:
    from grid.cli.place import Place

__all__ = ["app"]

app = Group("config", help="The site's settings.")


@app.command("show")
@click.argument("keys", nargs=-1, help="Only keys that begin with these.")
@click.option("--describe", is_flag=True, help="Say what each key means.")
@JSON
@click.pass_obj
def config_show(place: Place, keys: tuple[str, ...], describe: bool, as_json: bool) -> None:
    """Print each value, and the file or variable that it came from."""
    from sitecfg.names import near
    from sitecfg.show import shown

    every = shown(place.settings())
    for key in keys:
        if not any(one.key.startswith(key) for one in every):
            alike = ", ".join(near(key, [one.key for one in every])) or "none"
            raise UsageError(f"no setting begins with this; near: {alike}", where=key)
    settings = [one for one in every if not keys or one.key.startswith(keys)]
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
