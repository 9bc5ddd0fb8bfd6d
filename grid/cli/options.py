"""Options that several verbs have, and the types of what names a file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

__all__ = ["ADDRESS", "DRY_RUN", "JSON", "PATH", "QUIET", "TREE"]

#: A file or folder.
PATH: Final = click.Path(path_type=Path)
#: A file as well, but also a glob, a URL, or a name that the catalog knows: a shell completes it as a file.
ADDRESS: Final = click.Path(readable=False)

DRY_RUN: Final = click.option("--dry-run", is_flag=True, help="Say what would be done, and change nothing.")
JSON: Final = click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON, for machines.")
QUIET: Final = click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
TREE: Final = click.option("--tree", multiple=True, help="An event tree (repeat); found if not given.")
