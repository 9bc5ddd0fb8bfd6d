"""Where a step writes, how what it wrote gets its name, and how it is told to the ledger."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sitecfg.errors import NoSpace
from sitecfg.names import Name, physical_name
from sitecfg.units import format_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Target", "Targets"]


@dataclass(frozen=True, slots=True)
class Target:
    """An output to be: its logical name, the file it is written to, and the name that it gets when it is proven."""

    dataset: Name
    name: str
    temp: Path
    final: Path


@dataclass(slots=True)
class Targets:
    """The outputs of one attempt. Physical names carry epoch and start token, and are never used again.

    Parameters
    ----------
    attempt
        ``pool``, ``reserve``, ``epoch`` and ``runner`` of the spec.
    """

    attempt: Mapping[str, Any]
    _published: list[Path] = field(default_factory=list)

    def target(self, dataset: Name, name: str) -> Target:
        """Return where an output goes; makes its folder.

        Raises
        ------
        NoSpace
            The pool's disk has less left than the site always leaves free.
        """
        folder = Path(self.attempt["pool"]) / dataset.scope / dataset.name
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
        if free < self.attempt["reserve"]:
            raise NoSpace(
                f"the pool has {format_bytes(free)} left, and {format_bytes(self.attempt['reserve'])} stay free",
                where=str(folder),
                todo="free space, or change pool.reserve",
            )
        physical = physical_name(name, self.attempt["epoch"], self.attempt["runner"])
        return Target(dataset, name, folder / f".{physical}", folder / physical)

    def publish(self, target: Target, report: Mapping[str, Any], *, parents: list[str]) -> dict[str, Any]:
        """Give a proven output its name, durably; return what the ledger is told of it."""
        from grid.storage.publish import Checksums, publish

        publish(
            target.temp,
            target.final,
            expected=Checksums(report["bytes"], report["adler32"], report["xxh3"]),
        )
        self._published.append(target.final)
        told = {key: value for key, value in report.items() if key != "path"}
        return {
            **told,
            "dataset": str(target.dataset),
            "name": target.name,
            "url": target.final.as_uri(),
            "parents": parents,
        }

    @contextmanager
    def undone_on_error(self) -> Iterator[None]:
        """Remove what was published if the block fails: the ledger never hears of it."""
        try:
            yield
        except BaseException:
            for path in self._published:
                path.unlink(missing_ok=True)
            raise
