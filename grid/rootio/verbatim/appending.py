"""What appends inputs to an output without unpacking them: the same for trees and RNTuples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from grid.rootio.checksums import Checksums
    from grid.rootio.verbatim.inputs import Input

__all__ = ["Added", "Appender"]


@dataclass(frozen=True, slots=True)
class Added:
    """An input that was appended: its checksums, and what tells its events apart, ``[entries]`` each."""

    sums: Checksums
    columns: list[NDArray[Any]]


class Appender(Protocol):
    """Appends inputs, one after the other, and holds the output against them."""

    #: Packed bytes whose checksums were tested.
    covered: int

    @property
    def entries(self) -> dict[str, int]:
        """The entries of each tree or RNTuple so far, by path."""

    @property
    def notes(self) -> Sequence[str]:
        """What a person should know."""

    def names(self, path: str) -> set[str]:
        """Return the names of the branches of a tree, or of the top fields of an RNTuple."""

    def prepare(self, source: Input, paths: Collection[str]) -> Any:
        """Understand an input without reading its events; in the order of the inputs, maybe in another thread."""

    def add(self, prepared: Any, progress: Callable[[int], None] | None = None) -> Added:
        """Append an input, all of which is read."""

    def finish(self) -> None:
        """Tell the output what its descriptions are."""

    def check(self, path: Path, seen: Callable[[Sequence[NDArray[Any]]], None] | None = None) -> Checksums:
        """Read the finished output as an input is read, hold it against what was copied, return its checksums.

        `seen` is told what tells its events apart, some events at a time, in any order.
        """
