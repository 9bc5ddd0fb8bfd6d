"""Write TTrees into a new ROOT file: deterministic bytes, bounded memory, any size.

::

    with Sink(path, compression="zstd:5", seed=b"recipe and input", record={"stream": "A"}) as sink:
        events = sink.tree("Events", branches, title="Events")
        events.extend({"run": column, ...})
    written = sink.written
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from grid.rootio.columns import Branch, Column

__all__ = ["Sink", "SinkTree", "Written"]


@dataclass(frozen=True, slots=True)
class Written:
    """What was written: size, adler32 (8 hex digits) and XXH3-128 (32 hex digits)."""

    bytes: int
    adler32: str
    xxh3: str


class SinkTree:
    """One tree of a :class:`Sink`; made by :meth:`Sink.tree`."""

    @property
    def entries(self) -> int:
        """Entries given so far."""
        raise NotImplementedError

    def extend(self, columns: Mapping[str, Column]) -> None:
        """Append entries: one column per branch, all of the same length (0 is fine).

        A counter branch may be left out of *columns*: it then follows from its arrays.
        The arrays are copied; they may be changed afterwards.
        """
        raise NotImplementedError


class Sink:
    """A new ROOT file. It is no ROOT file until :meth:`close` has written the header."""

    def __init__(
        self,
        path: Path,
        *,
        compression: str = "zstd:5",
        seed: bytes = b"",
        date: int | None = None,
        record: dict[str, Any] | None = None,
        threads: int = 2,
    ) -> None:
        self.path = path
        self.record = record
        self.written: Written | None = None

    def tree(self, path: str, branches: Sequence[Branch], *, title: str = "", basket_bytes: int = 1 << 18) -> SinkTree:
        """Begin a tree; *path* may name directories (``"dir/sub/Name"``)."""
        raise NotImplementedError

    def close(self) -> Written:
        """Write what is pending, the trees, the key lists and, last, the header; fsync."""
        raise NotImplementedError

    def abort(self) -> None:
        """Give up: close and remove the unfinished file."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()
