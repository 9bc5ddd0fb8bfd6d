"""Wake whoever waits for something to happen in the ledger: threads and coroutines."""

from __future__ import annotations

import asyncio
import threading

__all__ = ["Bell"]


class Bell:
    """Rung after every change that somebody may be waiting for. Thread-safe.

    A ring is never missed: who saw count `n` and then waits for more than `n` returns at once if it was rung in
    between.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        #: How often it was rung for daemons, and how often for coroutines.
        self.count = 0
        self.whispers = 0

    def ring(self) -> None:
        """Wake everybody."""
        with self._changed:
            self.count += 1
            self._changed.notify_all()
        self.whisper()

    def whisper(self) -> None:
        """Wake the coroutines only: daemons do not wake each other (nor themselves) by looking around."""
        with self._changed:
            self.whispers += 1
            for loop, event in self._waiting:
                loop.call_soon_threadsafe(event.set)
            self._waiting.clear()

    def wait(self, seen: int, timeout: float | None) -> int:
        """Block this thread until it was rung more than `seen` times or the time is up; returns the count."""
        with self._changed:
            self._changed.wait_for(lambda: self.count > seen, timeout)
            return self.count

    async def heard(self, seen: int, timeout: float) -> bool:
        """Wait until `whispers` is more than `seen`; False when the time is up."""
        event = asyncio.Event()
        entry = (asyncio.get_running_loop(), event)
        with self._changed:
            if self.whispers > seen:
                return True
            self._waiting.add(entry)
        try:
            await asyncio.wait_for(event.wait(), timeout)
        except TimeoutError:
            return False
        finally:
            with self._changed:
                self._waiting.discard(entry)
        return True
