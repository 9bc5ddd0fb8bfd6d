"""One writer for the whole gateway: calls that arrive together share a transaction, and its fsync."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from catalog.engine import Catalog, Transaction
    from grid.farm.gateway.bell import Bell

__all__ = ["Ledger"]

Item = TypeVar("Item")
T = TypeVar("T")
#: At most this many calls share a transaction, so that no call waits long for the others.
GROUP = 64


class Ledger:
    """Writes to the catalog, grouped. Thread-safe.

    What one of the calls raises undoes all of the transaction; then each has one of its own. Calls that are alike may
    be done as one. A call's answer is given only when the transaction that holds it is durable.

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
            Given the transaction; short, and without effects elsewhere, for it may be done again.
        ring
            Whether daemons and waiting claims should look again afterwards.
        durable
            False for what may be forgotten if the power fails: whoever holds a lease on this machine dies with it.
        """
        return self.share(lambda tx, _: [work(tx)], None, ring=ring, durable=durable)

    def share(
        self,
        work: Callable[[Transaction, list[Item]], Sequence[T | Exception]],
        item: Item,
        *,
        ring: bool = True,
        durable: bool = True,
    ) -> Future[T]:
        """Have `item` done by `work`, together with all others that wait for the very same `work`.

        Parameters
        ----------
        work
            Given the transaction and the items; answers for each, in their order, what comes of it. An answer that
            is an exception is raised to that caller, and is no reason to undo the rest.
        item
            What this caller wants done.
        ring, durable
            As in :meth:`submit`.
        """
        call = _Call(work, item, ring, durable)
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
        alike: dict[Any, list[_Call]] = {}
        for call in group:
            alike.setdefault(call.work, []).append(call)
        broken: Exception | None = None
        try:
            with self.catalog.write(durable=any(call.durable for call in group)) as tx:
                try:
                    for calls in alike.values():
                        _do(tx, calls)
                except Exception as error:
                    broken = error
                    raise
        except Exception as error:  # noqa: BLE001 -- nothing of the transaction is left: each caller is told
            if error is broken and len(group) > 1:
                # One of them broke it for all.
                for call in group:
                    self._write([call])
            else:
                for call in group:
                    call.answer.set_exception(error)
            return
        for call in group:
            call.tell()
        if any(call.ring for call in group):
            self._bell.ring()


def _do(tx: Transaction, calls: list[_Call]) -> None:
    """Do calls of one `work`, and keep what comes of each until the transaction has ended."""
    results = calls[0].work(tx, [call.item for call in calls])
    for call, result in zip(calls, results, strict=True):
        call.result = result


class _Call:
    def __init__(
        self,
        work: Callable[[Transaction, list[Any]], Sequence[Any]],
        item: Any,
        ring: bool,
        durable: bool,
    ) -> None:
        self.answer: Future[Any] = Future()
        self.work = work
        self.item = item
        self.ring = ring
        self.durable = durable
        self.result: Any = None

    def tell(self) -> None:
        if isinstance(self.result, Exception):
            self.answer.set_exception(self.result)
        else:
            self.answer.set_result(self.result)
