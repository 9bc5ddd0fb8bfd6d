"""Names of files that aren't finished yet."""

from __future__ import annotations

import glob
import os
import platform
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["temporary_name"]


def temporary_name(target: Path) -> Path:
    """Return a name in the folder of `target` for what is to become it, and remove what killed runs left of it.

    Only what a process of this machine has left that is gone is removed: the name says whose it was.
    """
    machine = re.sub(r"\W", "-", platform.node())
    prefix = f".{target.name}.{machine}."
    for other in target.parent.glob(f"{glob.escape(prefix)}*"):
        owner = other.name.removeprefix(prefix)
        if owner.isdecimal() and not _runs(int(owner)):
            other.unlink(missing_ok=True)
    return target.with_name(f"{prefix}{os.getpid()}")


def _runs(process: int) -> bool:
    """Whether there is a process of this number."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True
