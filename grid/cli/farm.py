"""``grid init, up, down, doctor``: a home and its farm."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from grid.cli import show
from grid.cli.options import DRY_RUN, JSON, PATH
from sitecfg.errors import GridError, InstallError, NotFound

if TYPE_CHECKING:
    from pathlib import Path

    from grid.cli.place import Place
    from grid.installation import Finding

__all__ = ["doctor", "down", "init", "up"]

_TOML = """\
# Settings of this home; `grid config show --describe` lists every key, its value and where that is from.
#
# [workers]
# number = 2
# memory = "2 GB"
"""


@click.command()
@DRY_RUN
@click.pass_obj
def init(place: Place, dry_run: bool) -> None:
    """Make a home: its folders, its settings file, its catalog. Idempotent."""
    url = place.settings().site.catalog.url
    if dry_run:
        from sitecfg.show import hide_secrets

        show.line(f"would make {place.home} with its catalog at {hide_secrets(url)}")
        return
    from catalog.engine import create
    from grid.farm.home import Home

    home = Home(place.home)
    home.prepare()
    if not home.settings.exists():
        home.settings.write_text(_TOML)
    create(url)
    show.line(f"{place.home} is ready: put settings into {home.settings}, then 'grid run SCRIPT'")


@click.command()
@JSON
@DRY_RUN
@click.pass_obj
def up(place: Place, as_json: bool, dry_run: bool) -> None:
    """Start the farm and let it stay until `grid down`; harmless when it runs already."""
    workers = place.settings().site.workers
    if dry_run:
        if as_json:
            show.as_json({"home": place.home, "workers": workers.number, "slots": workers.slots})
        else:
            show.line(f"would start {workers.number} workers of {workers.slots} slots in {place.home}")
        return
    from grid.farm.session import up as start

    state = start(place.home)
    if as_json:
        show.as_json(state)
        return
    show.line(f"the farm of {place.home} is up (supervisor {state.get('pid')}); stop it with 'grid down'")
    rows = [
        (name, child.get("pid"), child.get("starts", 0)) for name, child in state.get("children", {}).items()
    ]
    show.table(("process", "pid", "starts"), rows)


@click.command()
@DRY_RUN
@click.pass_obj
def down(place: Place, dry_run: bool) -> None:
    """Stop the farm; running attempts return their leases and are started again later."""
    from grid.farm.home import Home
    from grid.farm.session import down as stop
    from grid.farm.session import running

    if dry_run:
        show.line("would stop the farm" if running(Home(place.home)) else "no farm runs here")
        return
    show.line("the farm is down" if stop(place.home) else "no farm was running here")


@click.command()
@click.argument(
    "place_to_check", type=PATH, required=False, metavar="[DIR]", help="Another place than the home."
)
@JSON
@click.pass_obj
def doctor(place: Place, place_to_check: Path | None, as_json: bool) -> None:
    """Check the installation and the home: packages, versions, caches, disk space, settings, catalog."""
    from grid.installation import check

    findings = check(place_to_check or place.home)
    if place_to_check is None:
        findings.append(_catalog(place))
    if as_json:
        show.as_json([one.to_json() for one in findings])
    else:
        show.table(("verdict", "topic", "found"), [(one.verdict, one.topic, one.text) for one in findings])
    faults = [one for one in findings if one.verdict == "fault"]
    if faults:
        raise InstallError(faults[0].text, where=faults[0].topic, todo=faults[0].todo)


def _catalog(place: Place) -> Finding:
    """Read the settings, open the catalog, and have the database look over its own file; makes nothing."""
    from catalog.dialects import damaged_parts
    from grid.installation import Finding

    try:
        with place.catalog() as catalog, catalog.read() as tx:
            damaged = damaged_parts(tx)
    except NotFound:
        return Finding("catalog", "good", "there is none yet; the first production makes it")
    except GridError as error:
        return Finding("catalog", "fault", str(error), error.todo)
    if damaged:
        todo = "Stop the farm, and restore the catalog from a backup."
        return Finding(
            "catalog", "fault", f"the database finds its file damaged: {'; '.join(damaged[:3])}", todo
        )
    return Finding("catalog", "good", "it opens, and the database finds it sound")
