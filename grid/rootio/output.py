"""A file that was written, as it was read back."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from pathlib import Path

    from grid.rootio.checksums import Checksums
    from grid.rootio.proof import Proven

__all__ = ["Output"]


@dataclass(frozen=True, slots=True)
class Output:
    """A written file: its checksums, and what it was found to hold."""

    path: Path
    bytes: int
    adler32: str
    xxh3: str
    events: int
    fingerprint: str | None
    content: str | None
    sections: tuple[tuple[int, int, int], ...]
    trees: dict[str, int]

    @classmethod
    def of(cls, path: Path, written: Checksums, found: Proven, **more: Any) -> Self:
        """Put together what was counted while writing and what was found while reading back."""
        return cls(
            path,
            written.bytes,
            written.adler32,
            written.xxh3,
            found.events,
            found.fingerprint,
            found.content,
            found.sections,
            found.trees,
            **more,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        return {**asdict(self), "path": str(self.path)}
