"""What happens: productions, the farm that runs them, and the files that they read and write.

A script needs :class:`Production` and, when it isn't run by ``grid run``, :func:`connect`; :class:`Command` is for
programs that aren't Python.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from grid.production import Command, Production, connect

__all__ = ["Command", "Production", "connect"]


def __getattr__(name: str) -> Any:
    """Import the script's interface when it is asked for, so that ``import grid.rootio`` stays cheap."""
    if name in __all__:
        from grid import production

        return getattr(production, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
