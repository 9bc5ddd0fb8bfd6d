"""What a merge is asked to do, and what it says it did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from grid.rootio.reading import MEMORY_BYTES

if TYPE_CHECKING:
    from grid.rootio.duplicates import Duplicates
    from grid.rootio.output import Output

__all__ = ["MergeInput", "MergeOptions", "MergeReport"]


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
        ``"ttree"`` writes a TTree for RNTuple inputs too; ``None`` refuses them.
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
    content: str


@dataclass(frozen=True)
class MergeReport:
    """What a merge did.

    Attributes
    ----------
    output
        What was written, as it was read back.
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
    """

    output: Output
    inputs: tuple[MergeInput, ...]
    duplicates: Duplicates
    dropped_branches: tuple[tuple[str, str, str], ...] = ()
    repeated_rows: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "output": self.output.to_json()}
