"""What tells events apart, told basket by basket in any order, and handed on as soon as all of some events is there."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["Segments"]

#: So many events are handed on together.
_EVENTS: Final = 1 << 19


class Segments:
    """Columns of which only those parts are in memory that are not complete; threads may share it.

    Parameters
    ----------
    entries
        How long they are.
    dtypes
        Their types.
    done
        Takes some events, all columns of them; not called by two threads at once.
    """

    def __init__(
        self,
        entries: int,
        dtypes: Mapping[int, np.dtype[Any]],
        done: Callable[[Sequence[NDArray[Any]]], None],
    ) -> None:
        self._entries, self._dtypes, self._done = entries, dict(dtypes), done
        self._open: dict[int, dict[int, NDArray[Any]]] = {}
        self._missing: dict[int, int] = {}
        self._lock = threading.Lock()

    def put(self, column: int, first: int, values: NDArray[Any]) -> None:
        """Tell the values of a column from entry `first` on; each is told once."""
        stop = first + len(values)
        with self._lock:
            for number in range(first // _EVENTS, -(-stop // _EVENTS)):
                begin = number * _EVENTS
                end = min(begin + _EVENTS, self._entries)
                low, high = max(first, begin), min(stop, end)
                self._segment(number, end - begin)[column][low - begin : high - begin] = values[
                    low - first : high - first
                ]
                self._missing[number] -= high - low
                if not self._missing[number]:
                    self._done(list(self._open.pop(number).values()))

    def _segment(self, number: int, size: int) -> dict[int, NDArray[Any]]:
        if number not in self._open:
            self._open[number] = {
                column: np.zeros(size, dtype.newbyteorder("=")) for column, dtype in self._dtypes.items()
            }
            self._missing[number] = size * len(self._dtypes)
        return self._open[number]
