"""One writer for the whole gateway: calls that arrive together share a transaction, and its fsync."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.engine import Catalog, Transaction
    from grid.farm.gateway.bell import Bell

__all__ = ["Ledger"]

T = TypeVar("T")
#: At most this many calls share a transaction, so that no call waits long for the others.
GROUP = 64


class Ledger:
    """Writes to the catalog, grouped. Thread-safe.

    Each call has a savepoint of its own: what it raises undoes what it did, and nothing else. A call's answer is
    given only when the transaction that holds it is durable.

    Parameters
    ----------
    catalog
        What is written to.
    bell
        Rung after a transaction with a call that others may be waiting for.
    """

    def __init__(self, catalog: Catalog, bell: Bell) -> None:
        self.catalog = catalog
        self._bell = bell
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def submit(
        self, work: Callable[[Transaction], T], *, ring: bool = True, durable: bool = True
    ) -> Future[T]:
        """Have `work` done in the next transaction; its result comes when that is durable.

        Parameters
        ----------
        work
            Given the transaction; short, and without effects elsewhere.
        ring
            Whether daemons and waiting claims should look again afterwards.
        durable
            False for what may be forgotten if the power fails: whoever holds a lease on this machine dies with it.
        """
        call = _Call(work, ring, durable)
        self._calls.put(call)
        return call.answer

    def run(self, work: Callable[[Transaction], T], *, ring: bool = True) -> T:
        """Do `work` in a transaction and wait for it; for threads, never for the event loop."""
        return self.submit(work, ring=ring).result()

    def close(self) -> None:
        """Finish what was submitted and stop."""
        self._calls.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._calls.get()) is not None:
            group = [first]
            while len(group) < GROUP and not self._calls.empty():
                call = self._calls.get()
                if call is None:
                    self._calls.put(None)
                    break
                group.append(call)
            self._write(group)

    def _write(self, group: list[_Call]) -> None:
        try:
            with self.catalog.write(durable=any(call.durable for call in group)) as tx:
                for call in group:
                    call.do(tx)
        except Exception as error:  # noqa: BLE001 -- the transaction failed: each caller is told
            for call in group:
                call.answer.set_exception(error)
            return
        for call in group:
            call.tell()
        if any(call.ring for call in group):
            self._bell.ring()


class _Call:
    def __init__(self, work: Callable[[Transaction], Any], ring: bool, durable: bool) -> None:
        self.answer: Future[Any] = Future()
        self.ring = ring
        self.durable = durable
        self._work = work
        self._result: Any = None
        self._error: Exception | None = None

    def do(self, tx: Transaction) -> None:
        try:
            with tx.begin_nested():
                self._result = self._work(tx)
        except Exception as error:  # noqa: BLE001 -- it belongs to the caller, not to the others
            self._error = error

    def tell(self) -> None:
        if self._error is not None:
            self.answer.set_exception(self._error)
        else:
            self.answer.set_result(self._result)
