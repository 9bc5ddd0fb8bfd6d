"""How many jobs a dispatcher keeps in flight: a pure decision."""

from __future__ import annotations

__all__ = ["batch", "window"]

#: Work that waits at the workers while the dispatcher fetches more, seconds.
AHEAD_S = 0.25


def window(slots: int, mean_s: float | None) -> int:
    """Return how many claimed jobs may be in flight.

    One per slot, and a few more only while jobs are so short that a slot would wait for the next claim: what is
    claimed and not running is kept from others, and lost for a while if the dispatcher dies.

    Parameters
    ----------
    slots
        Payloads that can run at a time.
    mean_s
        How long jobs took lately, seconds; None when that is not known yet.
    """
    most_ahead = slots // 5 + 32
    if mean_s is None:
        return slots
    if slots * AHEAD_S >= most_ahead * mean_s:
        return slots + most_ahead
    return slots + int(slots * AHEAD_S / mean_s)


def batch(slots: int, size: int, in_flight: int) -> int:
    """Return how many jobs to claim now; 0: wait until more of them have ended.

    Parameters
    ----------
    slots
        Payloads that can run at a time.
    size
        The window.
    in_flight
        Jobs that are claimed and not over.
    """
    free = size - in_flight
    ahead = size - slots
    # While all slots have work, one claim for many jobs is cheaper than many claims.
    return free if free > 0 and free >= min(ahead // 2, size) else 0
