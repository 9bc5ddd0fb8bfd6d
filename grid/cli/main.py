"""The ``grid`` command: its verbs, its options, its exit codes."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING

import click

from grid.cli import show
from grid.cli.completion import INSTALL_COMPLETION, SHOW_COMPLETION
from grid.cli.exit_codes import EXIT_CODES, INTERRUPTED
from grid.cli.options import PATH
from grid.cli.place import Place
from grid.cli.verbs import Verbs
from sitecfg.errors import GridError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["app", "main"]

_EPILOG = "Exit codes: " + " · ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items())


@click.group(
    "grid",
    cls=Verbs,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.option(
    "--home",
    type=PATH,
    default="grid-data",
    envvar="MDCGRID_HOME",
    show_envvar=True,
    help="Where the embedded farm lives; everything it writes is here.",
)
@click.option(
    "--site",
    type=PATH,
    envvar="MDCGRID_SITE",
    show_envvar=True,
    help="A site file, read after HOME/grid.toml.",
)
@click.version_option(package_name="mdcgrid", message="grid %(version)s", help="Print the version.")
@INSTALL_COMPLETION
@SHOW_COMPLETION
@click.pass_context
def app(context: click.Context, home: Path, site: Path | None) -> None:
    """Take events from the trigger to the analysis, and lose none on the way."""
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
        # Outside its standalone mode click returns the code that a verb ends with, and lets errors through.
        sys.exit(app(standalone_mode=False))
    except GridError as error:
        show.error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort as end:
        # A question that was answered with no ends with this, too.
        if isinstance(end.__cause__, KeyboardInterrupt):
            show.note("interrupted; the same command continues where this one stopped")
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
