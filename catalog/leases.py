"""What passes between the ledger and those who run jobs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from catalog.rows import File


@dataclass(frozen=True, slots=True)
class Lease:
    """One physical run of a job: the epoch of the claim, and the start token of who began it.

    ``runner`` is empty for a claim that nobody began.
    """

    job: int
    epoch: int
    runner: str = ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A job that was claimed: whoever begins it under this epoch first, runs it."""

    job: int
    epoch: int
    kind: str
    production: int | None


@dataclass(frozen=True, slots=True)
class Start:
    """A run that begins a claim: where it runs, and for how many seconds its lease holds unless renewed."""

    lease: Lease
    host: str
    worker: str
    pid: int | None
    lease_s: float


@dataclass(frozen=True, slots=True)
class Begun:
    """What a run needs to know: the spec that all jobs of its kind share, its own, and its input files."""

    job: int
    epoch: int
    runner: str
    kind: str
    production: str | None
    key: str
    spec: Mapping[str, Any]
    inputs: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class Renewed:
    """Which leases were renewed, and which are lost: their payloads must be killed."""

    kept: tuple[Lease, ...]
    lost: tuple[Lease, ...]


@dataclass(frozen=True, slots=True)
class Ended:
    """What became of a job.

    ``state`` is the job's state now. ``repeated``: the call was answered before, its reply must have been
    lost; nothing was changed this time.
    """

    job: int
    state: str
    failure: str | None = None
    why: str | None = None
    run_at: float | None = None
    repeated: bool = False
