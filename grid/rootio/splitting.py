"""What a split is asked to do, and what it says it did."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grid.rootio.carry import carry_others
from grid.rootio.known_branches import DEFAULT_IDENTITY
from grid.rootio.objects.objects import Objects
from grid.rootio.output import Output
from grid.rootio.reading import MEMORY_BYTES
from grid.rootio.verbatim.inputs import Input
from grid.trigger.menu import MENU_PREFIX
from sitecfg.errors import SchemaMismatch, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from grid.rootio.books import MaskBook
    from grid.rootio.source import Source, TreeInfo
    from grid.trigger.table import Resolved, TriggerTable

__all__ = ["SplitOutput", "SplitRecipe", "SplitReport", "check_outputs", "objects_of", "refuse_parallel"]


@dataclass(frozen=True)
class SplitRecipe:
    """How a file is split.

    Attributes
    ----------
    table
        The trigger table; ``None``: every event goes to the one stream ``all``.
    event_trees
        The trees that are cut, together; found if not given.
    identity
        The branches that identify an event, or ``("entry",)``.
    keep
        Keep/drop rules for the branches of the event trees; they also decide what a user's function sees.
    on_refused
        ``"refuse"``, or ``"drop"``: leave out and record what can't be carried.
    compression
        As a ``Sink`` spells it; ``None``: the input's.
    memory_bytes
        About the size of what is unpacked at once.
    format
        ``"ttree"`` writes TTrees for RNTuple inputs too; ``None`` leaves them what they are, which neither rules nor
        functions nor made identities can change.
    conditions
        Given to the user's function.
    menu_prefix
        What the names of trigger-path branches begin with.
    """

    table: TriggerTable | Resolved | None = None
    event_trees: tuple[str, ...] = ()
    identity: tuple[str, ...] = DEFAULT_IDENTITY
    keep: tuple[str, ...] = ()
    on_refused: str = "refuse"
    compression: str | None = None
    memory_bytes: int = MEMORY_BYTES
    format: str | None = None
    conditions: Any = None
    menu_prefix: str = MENU_PREFIX


@dataclass(frozen=True, slots=True)
class SplitOutput(Output):
    """One stream's file."""

    stream: str
    stream_bit: int


@dataclass(frozen=True)
class SplitReport:
    """What a split did.

    Attributes
    ----------
    events
        Events of the input.
    streams
        The streams; the position is the stream's bit.
    outputs
        One file per stream.
    books
        One entry for each exact set of streams that occurs; mask 0 is no stream.
    dropped
        Events that the user's function dropped, and their fingerprint.
    overlap
        Events that streams share; the diagonal holds the streams' sizes.
    dropped_branches
        (tree, branch, reason) of what was left out.
    notes
        What else a person should know.
    """

    events: int
    streams: tuple[str, ...]
    outputs: tuple[SplitOutput, ...]
    books: tuple[MaskBook, ...]
    dropped: MaskBook
    overlap: tuple[tuple[int, ...], ...]
    dropped_branches: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = field(default=())

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "outputs": [output.to_json() for output in self.outputs]}


def check_outputs(outputs: Collection[str], streams: Sequence[str]) -> None:
    """Refuse names of outputs that are not those of the streams."""
    if set(outputs) != set(streams):
        raise UsageError(
            f"outputs are needed for the streams {', '.join(streams)}, "
            f"but were given for {', '.join(outputs) or 'none'}"
        )


def objects_of(
    source: Source, on_refused: str, origin: str
) -> tuple[Objects, tuple[tuple[str, str, str], ...]]:
    """Return what is no tree, to be copied into every output; and what is left out: (path, "", reason).

    Raises
    ------
    UnsupportedContent
        If it can't be copied, or the file isn't a local one, and it may not be left out.
    """
    objects = Objects(drop=on_refused == "drop")
    if "://" in source.url:
        return objects, carry_others(source, on_refused)
    with Input(Path(source.url)) as found:
        objects.add(found, origin)
    return objects, tuple((path, "", why) for path, why in objects.dropped.items())


def refuse_parallel(source: Source, events: TreeInfo, others: Sequence[TreeInfo]) -> None:
    """Refuse to cut one of several trees that go together entry by entry.

    A tree of runs or run sections may have as many rows as there are events by chance.
    """
    for info in others:
        if 1 < info.entries == events.entries and not set(DEFAULT_IDENTITY[:2]) & set(info.by_name()):
            raise SchemaMismatch(
                f"it has {info.entries} entries, like the event tree {events.path}, and was not named",
                where=f"{source.url}: {info.path}",
                todo=f"name both as event trees (--tree) to cut them together: {events.path}, {info.path}",
            )
