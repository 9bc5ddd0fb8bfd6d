"""What the gateway is asked: the bodies of its requests, checked before the ledger sees them."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = ["Begin", "Claim", "Commit", "Fail", "Lease", "Release", "Renew"]

#: What fits into a database's integer.
Id = Annotated[int, Field(ge=0, lt=1 << 63)]
Epoch = Annotated[int, Field(ge=0, lt=1 << 31)]
Word = Annotated[str, StringConstraints(min_length=1, max_length=250, pattern=r"^[\x20-\x7e]+$")]
Runner = Annotated[str, StringConstraints(pattern=r"^[0-9a-f-]{8,36}$")]
#: A class of the failure catalogue; one that it doesn't have is taken for ``internal``.
Failure = Annotated[str, StringConstraints(pattern=r"^[a-z-]{1,16}$")]
Words = Annotated[str, StringConstraints(max_length=100_000)]


class _Request(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True)


class Claim(_Request):
    """Lease ready jobs."""

    cell: Word
    claimer: Word | None = None
    limit: Annotated[int, Field(ge=1, le=10_000)]
    most: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    wait_s: Annotated[float, Field(ge=0, le=30)] = 0.0


class Lease(_Request):
    """A lease: a job and its epoch, and the start token once an attempt has begun."""

    job: Id
    epoch: Epoch
    runner: Runner | None = None


class Held(_Request):
    """A lease of an attempt that has begun."""

    job: Id
    epoch: Epoch
    runner: Runner


class Begin(Held):
    """Bind a claim to one start."""

    host: Word
    pid: Id
    worker: Word


class Renew(_Request):
    """Renew leases."""

    leases: Annotated[list[Held], Field(max_length=10_000)]


class Commit(Held):
    """Make a result true."""

    result: dict[str, Any]


class Fail(Held):
    """Report a failure."""

    failure: Failure
    message: Words
    measured: dict[str, Any] = Field(default_factory=dict)
    last_lines: Words = ""
    blamed: Annotated[str, StringConstraints(max_length=4_000)] | None = None


class Release(_Request):
    """Return leases, or all that a worker holds."""

    leases: Annotated[list[Lease], Field(max_length=10_000)] = Field(default_factory=list)
    worker: Word | None = None
