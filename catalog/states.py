"""The states that rows can be in, each with the reason why it is a state of its own."""

from __future__ import annotations

from enum import StrEnum


class DatasetState(StrEnum):
    """Whether a dataset may still grow."""

    OPEN = "open"
    """Files may be added."""
    CLOSED = "closed"
    """Nothing is added any more: productions over it can complete."""
    FROZEN = "frozen"
    """Neither files nor their states change any more."""


class FileState(StrEnum):
    """How far a file has come; it moves forward only, or becomes bad."""

    OPEN = "open"
    """Its writer is still at it."""
    CLOSED = "closed"
    """Its writer is done; nobody has looked into it yet: an intake job will."""
    DECLARED = "declared"
    """Its facts are known, but no copy of it is at hand."""
    ON_DISK = "on_disk"
    """Its facts are known and a copy is on disk."""
    ON_TAPE = "on_tape"
    """A copy is on tape."""
    RETIRED = "retired"
    """It was replaced or withdrawn, and is not used any more; the row says why."""
    BAD = "bad"
    """It must not be used; the row says why."""


class ReplicaState(StrEnum):
    """Whether a copy can be read."""

    AVAILABLE = "AVAILABLE"
    """The copy is complete and was right when it was last looked at."""
    BAD = "BAD"
    """The copy was found wrong; it is kept for a person to look at, and not used."""


class TableState(StrEnum):
    """Whether a trigger table can still be replaced under its name and tag."""

    DRAFT = "draft"
    """Not used by any production: importing another content replaces it."""
    FROZEN = "frozen"
    """Used: immutable for ever."""
    RETIRED = "retired"
    """Immutable, and refused for new productions."""


class ProductionState(StrEnum):
    """Where a production stands."""

    ACTIVE = "active"
    """Jobs exist or will be made by the planner."""
    PAUSED = "paused"
    """An operator stopped it: attempts that run come to their end, nothing new starts."""
    STALLED = "stalled"
    """Nothing is left to run and something is held: an operator frees it or cancels."""
    COMPLETE = "complete"
    """Every input is processed and every output merged."""
    CANCELLED = "cancelled"
    """Given up; what was committed stays."""


class JobState(StrEnum):
    """Where a job stands in the ledger."""

    READY = "ready"
    """Waits for a slot, from ``run_at`` on."""
    LEASED = "leased"
    """Somebody holds it until ``lease_until``."""
    DONE = "done"
    """Its result is committed."""
    PAUSED = "paused"
    """Would be ready, if its production or its file were not paused."""
    HELD = "held"
    """Waits for an operator; the row says why."""
    CANCELLED = "cancelled"
    """Given up; it claims neither its key nor its inputs any more."""


class Outcome(StrEnum):
    """How an attempt ended."""

    RUNNING = "running"
    """It was begun, and nothing else is known yet."""
    DONE = "done"
    """Its result was committed."""
    REFUSED = "refused"
    """Its result was committed and shows that the input must not be used."""
    FAILED = "failed"
    """It reported a failure."""
    LOST = "lost"
    """Its lease ran out."""
    RETURNED = "returned"
    """Its lease was returned, by itself or by who saw its worker die."""


class Kind(StrEnum):
    """What a job does."""

    INTAKE = "intake"
    """Look into one file that others wrote."""
    COMPARE = "compare"
    """Compare the events of input files that share run sections."""
    PROCESS = "process"
    """Reconstruct and split one input file."""
    MERGE = "merge"
    """Merge one group of outputs of a stream."""
    EMPTY = "empty"
    """Do nothing, and change nothing when it is done: for measuring and testing the farm."""


#: File states in which a copy can be read and its facts are known.
READABLE = (FileState.ON_DISK, FileState.ON_TAPE)
