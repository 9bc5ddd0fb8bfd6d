"""Keep the leases of all running attempts of one process alive, with one request for all of them."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from sitecfg.errors import GatewayError, GridError

if TYPE_CHECKING:
    from grid.farm.client import GatewayClient

__all__ = ["Held", "Keeper"]

#: Seconds between two tries to renew while the gateway doesn't answer.
AGAIN_S = 0.5


class Held:
    """A lease that is being renewed.

    Parameters
    ----------
    key
        Job, epoch and start token.
    lease_s
        How long it lasts without being renewed.
    confirmed
        Monotonic time just before the ledger was last asked and said yes.
    fence
        The part of `lease_s` after which a lease that was not renewed is no longer counted on.
    """

    def __init__(self, key: tuple[int, int, str], lease_s: float, confirmed: float, *, fence: float) -> None:
        self.key = key
        self.lease_s = lease_s
        self.confirmed = confirmed
        self._fence_s = fence * lease_s
        #: The ledger said that it is somebody else's by now.
        self.lost = False

    @property
    def fenced(self) -> bool:
        """Whether too long has passed without an answer to count on it: ask before acting on it."""
        return self.lost or time.monotonic() - self.confirmed > self._fence_s


class Keeper:
    """Renews leases from a thread of its own. Thread-safe.

    Parameters
    ----------
    client
        The gateway.
    renew_fraction
        Leases are renewed each time this part of them has passed.
    """

    def __init__(self, client: GatewayClient, *, renew_fraction: float = 0.25) -> None:
        self._client = client
        self._fraction = renew_fraction
        self._held: set[Held] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self._thread.start()

    def hold(self, held: Held) -> None:
        """Begin to renew a lease."""
        with self._changed:
            self._held.add(held)
            self._changed.notify()

    def drop(self, held: Held) -> None:
        """Stop renewing a lease."""
        with self._changed:
            self._held.discard(held)

    def confirm(self, held: Held) -> bool:
        """Ask the ledger now whether a lease is still held; False when it is lost or nobody answers."""
        asked = time.monotonic()
        try:
            held.lost = held.key in self._client.renew([held.key], patience_s=held.lease_s)
        except GatewayError:
            return False
        if not held.lost:
            held.confirmed = asked
        return not held.lost

    def close(self) -> None:
        """Stop renewing."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        not_before = 0.0
        while batch := self._due(not_before):
            asked = time.monotonic()
            try:
                lost = self._client.renew(batch, patience_s=0.0)
            except GridError:
                # Whatever it is, it may pass; if it doesn't, the lease is fenced and its attempt told.
                not_before = time.monotonic() + AGAIN_S
                continue
            for key, held in batch.items():
                held.lost = key in lost
                held.confirmed = asked
            with self._changed:
                self._held -= {held for held in batch.values() if held.lost}

    def _due(self, not_before: float) -> dict[tuple[int, int, str], Held]:
        """Wait until a lease wants to be renewed and return all of them; empty when closed."""
        with self._changed:
            while not self._closed:
                wanted = [held.confirmed + self._fraction * held.lease_s for held in self._held]
                left = max(not_before, min(wanted)) - time.monotonic() if wanted else None
                if left is not None and left <= 0:
                    return {held.key: held for held in self._held}
                self._changed.wait(left)
        return {}
