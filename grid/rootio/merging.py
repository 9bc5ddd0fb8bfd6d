"""What a merge is asked to do, and what it says it did."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from grid.rootio.reading import MEMORY_BYTES
from sitecfg.errors import DuplicateEvents, SchemaMismatch, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from grid.rootio.duplicates import Duplicates
    from grid.rootio.output import Output

__all__ = [
    "DEPTHS",
    "CantCopy",
    "MergeInput",
    "MergeOptions",
    "MergeReport",
    "check_options",
    "events_occur_twice",
    "identity_said",
    "not_looked_at",
    "said_by_inputs",
    "same_table",
]

#: How much is verified, from the quickest to the surest.
DEPTHS = ("copied", "sealed", "proven")


class CantCopy(Exception):
    """Inputs can't be merged without unpacking them."""


@dataclass(frozen=True)
class MergeOptions:
    """How files are merged.

    Attributes
    ----------
    identity
        The branches that identify an event; ``None``: the usual ones, or those that
        ``identity="entry"`` made, if they are there, else a hash of each event's values.
    event_trees
        The trees that hold the events; found if not given.
    duplicates
        ``"report"``: events that occur twice are kept and reported; ``"refuse"``: they are an error.
    side
        ``"rule"``: rows of other trees that are there already are not added again;
        ``"concat"``: all rows are kept.
    on_refused
        ``"refuse"``, or ``"drop"``: leave out and record what can't be carried.
    compression
        As a ``Sink`` spells it; ``None``: the first input's.
    format
        ``"ttree"`` writes a TTree for RNTuple inputs too; ``None`` copies their pages.
    verify
        ``"copied"``: baskets and pages are copied as they are, and their structure is tested; ``"sealed"``: so are the
        checksums that need no unpacking, and events with an identity are told apart; ``"proven"``: everything is
        unpacked once and tested, and events without an identity are told apart by what they hold. What was written is
        read again, and each basket held against the one that was read.
    schema
        ``"strict"``: all inputs have the same branches; ``"backfill"``: what some lack is filled with 0 or nothing, and
        numbers that are narrower in some are widened. Both is recorded.
    threads
        How many stretches of an input are under way at once where baskets are copied.
    memory_bytes
        About the size of what is unpacked at once.
    """

    identity: tuple[str, ...] | None = None
    event_trees: tuple[str, ...] = ()
    duplicates: str = "report"
    side: str = "rule"
    on_refused: str = "refuse"
    compression: str | None = None
    format: str | None = None
    verify: str = "proven"
    schema: str = "strict"
    threads: int = 2
    memory_bytes: int = MEMORY_BYTES


@dataclass(frozen=True, slots=True)
class MergeInput:
    """One input, as it was read."""

    path: str
    bytes: int
    adler32: str
    xxh3: str
    events: int
    fingerprint: str | None
    content: str | None


@dataclass(frozen=True)
class MergeReport:
    """What a merge did.

    Attributes
    ----------
    output
        What was written, as it was read back. Its ``content`` is that of its inputs, and ``None``, where baskets were
        copied as they are: nobody looked at values.
    inputs
        The files that went in, in order.
    duplicates
        Events that occur twice; they are all in the output.
    dropped_branches
        (tree, branch, reason) of what was left out.
    repeated_rows
        For each other tree the rows that were left out because they were there already.
    notes
        What else a person should know.
    verified
        How much was verified; at least what was asked for.
    filled
        For each input the branches that it lacks.
    widened
        For each input the types of those branches that the output has in wider ones.
    covered
        Bytes of the inputs that were tested against checksums inside them; ``None``: not counted.
    """

    output: Output
    inputs: tuple[MergeInput, ...]
    duplicates: Duplicates
    dropped_branches: tuple[tuple[str, str, str], ...] = ()
    repeated_rows: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    verified: str = "proven"
    filled: dict[str, tuple[str, ...]] = field(default_factory=dict)
    widened: dict[str, dict[str, str]] = field(default_factory=dict)
    covered: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        answer = {**asdict(self), "output": self.output.to_json()}
        answer["bytes_covered"] = covered = answer.pop("covered")
        read = sum(one.bytes for one in self.inputs)
        answer["bytes_not_covered"] = None if covered is None else read - covered
        return answer


def check_options(options: MergeOptions) -> None:
    """Refuse words that mean nothing; raises :class:`sitecfg.errors.UsageError`."""
    for what, value, allowed in (
        ("duplicates", options.duplicates, ("report", "refuse")),
        ("side", options.side, ("rule", "concat")),
        ("verify", options.verify, DEPTHS),
        ("schema", options.schema, ("strict", "backfill")),
    ):
        if value not in allowed:
            raise UsageError(f"{what} is {' or '.join(map(repr, allowed))}, not {value!r}")
    if options.duplicates == "refuse" and options.verify == "copied":
        raise not_looked_at(options.verify)


def events_occur_twice(found: Duplicates, where: str) -> DuplicateEvents:
    """Return the error that refuses them; `where` is the first input."""
    return DuplicateEvents(
        f"{found.events} events occur more than once, first: {found.first[0]}",
        where=where,
        todo="merge each file once",
        first=list(found.first),
    )


def not_looked_at(verify: str) -> UsageError:
    """Return the error that says that a depth finds no event that occurs twice."""
    return UsageError(
        "events that occur twice are found by looking at the events",
        where=f"verify={verify!r}",
        todo='say verify="proven" (--verify proven), or let them be (--duplicates report)',
    )


def same_table(
    known: Sequence[Mapping[str, Any]], mine: Mapping[str, Any], where: str, reference: str
) -> None:
    """Refuse to mix files that were split by different trigger tables.

    Parameters
    ----------
    known, mine
        What the records of the inputs before say, and that of `where`.
    where, reference
        The input, and the first one, for messages.

    Raises
    ------
    SchemaMismatch
        If it was split by another table than the first.
    """
    if known and mine.get("table") != known[0].get("table"):
        raise SchemaMismatch(
            f"it was split by the trigger table {_label(mine)}, {reference} by {_label(known[0])}",
            where=where,
            todo="merge only files that were split by one table",
        )


def identity_said(record: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the branches that identify an event, as a file's own record says; none if it says nothing sound."""
    said = (record or {}).get("identity")
    sound = isinstance(said, list) and all(isinstance(name, str) for name in said)
    return tuple(said) if sound and said else ()


def said_by_inputs(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what the record of a merged file says about table and stream, from those of its inputs."""
    streams = {json.dumps(record.get("stream")) for record in records}
    return {
        "made_by": "merge",
        "table": records[0].get("table"),
        "stream": records[0].get("stream") if len(streams) == 1 else None,
    }


def _label(record: Mapping[str, Any]) -> str:
    table = record.get("table")
    return str(table["name"]) if isinstance(table, dict) and "name" in table else "none"
