"""The ``grid`` command: its verbs, its options, its exit codes."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from grid.cli import show
from grid.cli.exit_codes import EXIT_CODES, INTERRUPTED
from grid.cli.place import Place
from sitecfg.errors import GridError

__all__ = ["app", "main"]

_EPILOG = "Exit codes: " + " · ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())

app = typer.Typer(
    name="grid",
    help="Take events from the trigger to the analysis, and lose none on the way.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)

_LOCAL = "Files, without a catalog"
_FARM = "The farm"
_WORK = "Productions"
_DATA = "Data"


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        show.line(f"grid {version('mdcgrid')}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    home: Annotated[
        Path,
        typer.Option(
            "--home",
            envvar="MDCGRID_HOME",
            help="Where the embedded farm lives; everything it writes is here.",
        ),
    ] = Path("grid-data"),
    site: Annotated[
        Path | None,
        typer.Option("--site", envvar="MDCGRID_SITE", help="A site file, read after HOME/grid.toml."),
    ] = None,
    _version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    # Scripts, and the farm's processes, find both in their environment.
    os.environ["MDCGRID_HOME"] = str(home.absolute())
    if site is not None:
        os.environ["MDCGRID_SITE"] = str(site.absolute())
    context.obj = Place(home.absolute())


def _register() -> None:
    """Hang every verb on the command; each file is small and imports what is heavy only when it runs."""
    from grid.cli import catalog, config, data, farm, files, operate, run, trigger, work

    app.command(rich_help_panel=_LOCAL)(files.verify)
    app.command(rich_help_panel=_LOCAL)(files.split)
    app.command(rich_help_panel=_LOCAL)(files.merge)
    app.command(rich_help_panel=_WORK)(run.run)
    app.command(rich_help_panel=_WORK)(work.status)
    app.command(rich_help_panel=_WORK)(work.retry)
    app.command(rich_help_panel=_WORK)(work.log)
    app.command(rich_help_panel=_WORK)(operate.pause)
    app.command(rich_help_panel=_WORK)(operate.resume)
    app.command(rich_help_panel=_WORK)(operate.priority)
    app.command(rich_help_panel=_WORK)(operate.cancel)
    app.command(rich_help_panel=_WORK)(data.audit)
    app.add_typer(trigger.app, name="trigger", rich_help_panel=_WORK)
    app.command(rich_help_panel=_DATA)(work.declare)
    app.add_typer(operate.dataset, name="dataset", rich_help_panel=_DATA)
    app.command(rich_help_panel=_DATA)(operate.invalidate)
    app.command(rich_help_panel=_DATA)(data.ls)
    app.command(rich_help_panel=_DATA)(data.get)
    app.command(rich_help_panel=_DATA)(data.links)
    app.command(rich_help_panel=_FARM)(farm.init)
    app.command(rich_help_panel=_FARM)(farm.up)
    app.command(rich_help_panel=_FARM)(farm.down)
    app.command(rich_help_panel=_FARM)(farm.doctor)
    app.add_typer(config.app, name="config", rich_help_panel=_FARM)
    app.add_typer(catalog.app, name="catalog", rich_help_panel=_FARM)


_register()


def main() -> None:
    """Run the command line and leave with a documented exit code."""
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    try:
        # Outside its standalone mode the code of an Exit is returned (an interrupt is one), and errors come through.
        code = app(standalone_mode=False) or 0
        if code == INTERRUPTED:
            show.note("interrupted; the same command continues where this one stopped")
        sys.exit(code)
    except GridError as error:
        show.error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(INTERRUPTED)
    except Exception as error:
        # The usage errors of the click inside typer have no public types, and know how to show themselves.
        if not (hasattr(error, "show") and hasattr(error, "exit_code")):
            raise
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
