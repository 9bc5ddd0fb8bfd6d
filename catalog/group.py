"""Many small writes of many threads, made durable by one commit."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from catalog.engine import Catalog

T = TypeVar("T")


class Group:
    """Let threads share transactions: what waits while one commit is being made goes into the next one.

    Waiting for the disk is what a small write costs; so a hundred callers together are nearly as fast as one.
    Thread-safe.

    Parameters
    ----------
    catalog
        Where to write.
    limit
        Most writes in one transaction.
    """

    def __init__(self, catalog: Catalog, *, limit: int = 100) -> None:
        self._catalog = catalog
        self._limit = limit
        self._waiting: deque[_Write[Any]] = deque()
        self._lead = threading.Lock()

    def run(self, write: Callable[[Connection], T]) -> T:
        """Run `write` in a transaction and return what it returns, once that is durable. Blocks until then.

        When `write` raises, its changes are undone, the others' are not, and the error is raised here.
        """
        mine = _Write(write)
        self._waiting.append(mine)
        while not mine.ended:
            with self._lead:
                if not mine.ended:
                    self._write_waiting()
        return mine.outcome()

    def _write_waiting(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(self._limit, len(self._waiting)))]
        try:
            with self._catalog.write() as tx:
                for one in batch:
                    one.carry_out(tx)
        except BaseException as error:
            for one in batch:
                one.error = error
            if not isinstance(error, Exception):
                raise
        finally:
            for one in batch:
                one.ended = True


class _Write(Generic[T]):
    """One caller's write, and what came of it."""

    def __init__(self, write: Callable[[Connection], T]) -> None:
        self._write = write
        self._answer: list[T] = []
        self.error: BaseException | None = None
        self.ended = False

    def carry_out(self, tx: Connection) -> None:
        try:
            with tx.begin_nested():
                self._answer.append(self._write(tx))
        except Exception as error:  # noqa: BLE001  (raised again, in the thread whose write it is)
            self.error = error

    def outcome(self) -> T:
        if self.error is not None:
            raise self.error
        return self._answer[0]
