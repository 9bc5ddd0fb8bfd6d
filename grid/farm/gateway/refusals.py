"""Write down what the gateway refuses: who asked, for what, and why not."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Scope

    from sitecfg.errors import GridError

__all__ = ["Refusals"]

_log = logging.getLogger(__name__)
#: Lines of one class of error in one period: a caller in a loop must not fill the disk.
MOST = 50
#: Seconds.
PERIOD_S = 60.0
#: Characters of a path, and of a reason, that are written down.
LONGEST = 500


class Refusals:
    """One line for each refusal, in the log of the process. For the event loop's thread alone.

    A line never has a body or a header in it, so no token either.

    Parameters
    ----------
    clock
        Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._since = clock()
        self._count: Counter[str] = Counter()

    def note(self, scope: Scope, status: int, error: GridError) -> None:
        """Write a refusal down, unless there were too many of its class lately: those are counted."""
        if self._clock() - self._since >= PERIOD_S:
            self._turn()
        kind = type(error).__name__
        self._count[kind] += 1
        if self._count[kind] > MOST:
            return
        host, port = scope.get("client") or ("?", 0)
        _log.warning(
            "refused %s %s from %s:%s with %d %s: %s",
            scope["method"],
            _plain(scope["path"]),
            host,
            port,
            status,
            kind,
            _plain(f"{error.where}: {error.what}" if error.where else error.what),
        )

    def _turn(self) -> None:
        for kind, count in self._count.items():
            if count > MOST:
                _log.warning("refused %d more with %s that were not written down", count - MOST, kind)
        self._count.clear()
        self._since = self._clock()


def _plain(text: str) -> str:
    """Bound a text that a stranger may have chosen, and keep it on its line."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "surrogatepass").decode() for one in cut
    )
