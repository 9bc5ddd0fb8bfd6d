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
from grid.cli.verbs import Verbs
from sitecfg.errors import GridError

__all__ = ["app", "main"]

_EPILOG = "Exit codes: " + " · ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())

app = typer.Typer(
    name="grid",
    cls=Verbs,
    help="Take events from the trigger to the analysis, and lose none on the way.",
    epilog=_EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)


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


def _keep_interrupts(dropped: sys.UnraisableHookArgs) -> None:
    """Interrupt again where an interrupt came during a destructor, which lets no exception out."""
    if isinstance(dropped.exc_value, KeyboardInterrupt):
        # Not at once: this is called by the destructor, too.
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
    else:
        sys.__unraisablehook__(dropped)


def main() -> None:
    """Run the command line and leave with a documented exit code."""
    sys.unraisablehook = _keep_interrupts
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
