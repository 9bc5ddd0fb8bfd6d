"""What payloads report, checked when it comes in: nothing unchecked gets into the books.

Keys that are not listed here are ignored, so that a step may report more than the catalog keeps.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catalog.closure import Tally
from catalog.states import Kind
from sitecfg.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Count = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Number = Annotated[int, Field(ge=-(2**63), lt=2**63, strict=True)]
Size = Annotated[int, Field(ge=0, lt=2**63)]
Adler32 = Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
Xxh3 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Fingerprint = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Content = Annotated[str, Field(pattern="^([0-9a-f]{16}){1,2}$")]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Mask = Annotated[int, Field(ge=0, lt=2**64, strict=True)]


class _Reported(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Measured(_Reported):
    """What an attempt used: seconds and bytes."""

    cpu_s: Seconds | None = None
    wall_s: Seconds | None = None
    peak_rss: Size | None = None
    bytes_in: Size | None = None
    bytes_out: Size | None = None


class _Counted(_Reported):
    events: Count
    fingerprint: Fingerprint | None = None
    content: Content | None = None

    @property
    def tally(self) -> Tally:
        """The counts as :mod:`catalog.closure` takes them."""
        return Tally(self.events, self.fingerprint, self.content)


class _Written(_Counted):
    bytes: Count
    adler32: Adler32
    xxh3: Xxh3
    sections: tuple[tuple[Number, Number, Count], ...] = ()
    trees: dict[str, Any] = {}
    notes: tuple[Any, ...] = ()


class Facts(_Written):
    """The facts of one input file."""

    menu: tuple[str, ...] = ()
    menu_hash: Annotated[str, Field(max_length=64)] | None = None
    duplicates: Any = None
    record: dict[str, Any] | None = None


class Output(_Written):
    """One file that a step wrote. ``dataset`` is ``scope:name``; ``name`` is logical, ``url`` physical."""

    stream: str
    stream_bit: Annotated[int, Field(ge=0, lt=64, strict=True)] = 0
    dataset: str
    name: str
    url: str
    parents: tuple[str, ...] = ()


class Book(_Counted):
    """The events of exactly one stream mask."""

    mask: Mask


class Report(_Reported):
    """What every payload reports."""

    measured: Measured = Measured()
    notes: tuple[Any, ...] = ()


class IntakeResult(Report):
    """What an intake job found."""

    file: Facts


class CompareResult(Report):
    """What a compare job found."""

    duplicates: tuple[Any, ...] = ()


class ProcessResult(Report):
    """What a process job wrote and booked."""

    books: tuple[Book, ...]
    dropped: _Counted = _Counted(events=0, fingerprint="0" * 32)
    outputs: tuple[Output, ...]


class MergeResult(Report):
    """What a merge job wrote."""

    outputs: Annotated[tuple[Output, ...], Field(min_length=1, max_length=1)]


#: What a job of each kind reports.
OF: Mapping[str, type[Report]] = {
    Kind.INTAKE: IntakeResult,
    Kind.COMPARE: CompareResult,
    Kind.PROCESS: ProcessResult,
    Kind.MERGE: MergeResult,
    Kind.EMPTY: Report,
}

R = TypeVar("R", bound=_Reported)
#: Of the same result always the same text.
_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode


def read(kind: type[R], result: Mapping[str, Any]) -> R:
    """Check a report.

    Raises
    ------
    UsageError
        Something is missing or of the wrong shape; every such key is named.
    """
    try:
        return kind.model_validate(result)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:10]]
        raise UsageError(
            f"the result of the job can't be read: {'; '.join(problems)}", where=kind.__name__
        ) from error


def digest(result: Mapping[str, Any]) -> str:
    """Return the sha256 of a result, the same for the same result sent again."""
    return hashlib.sha256(_canonical(result).encode()).hexdigest()
