"""What a merge of inputs that differ in branches has made up, or holds in wider types, for people and the record."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from grid.rootio.columns import Branch

__all__ = ["Changes"]

#: So many branches are named in a note.
_NAMED = 5


@dataclass(slots=True)
class Changes:
    """For each input and tree: the branches that it lacks, and the types of those that the output has wider."""

    filled: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    widened: dict[str, dict[str, dict[str, str]]] = field(default_factory=dict)

    def add(self, url: str, path: str, mine: Mapping[str, Branch], wanted: Sequence[Branch]) -> None:
        """Note what becomes of the branches of a tree of an input."""
        lacking = [branch.name for branch in wanted if branch.name not in mine]
        wider = {
            branch.name: f"{mine[branch.name].dtype} to {branch.dtype}"
            for branch in wanted
            if branch.name in mine and mine[branch.name].dtype != branch.dtype
        }
        if lacking:
            self.filled.setdefault(url, {})[path] = lacking
        if wider:
            self.widened.setdefault(url, {})[path] = wider

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """For each input the branches that it lacks, of all its trees."""
        return {
            url: tuple(name for names in of.values() for name in names) for url, of in self.filled.items()
        }

    @property
    def types(self) -> dict[str, dict[str, str]]:
        """For each input the types of the branches that were widened, of all its trees."""
        return {
            url: {name: types for each in of.values() for name, types in each.items()}
            for url, of in self.widened.items()
        }

    @property
    def record(self) -> dict[str, Any]:
        """What the output's record says."""
        said = {"filled": list(self.filled.values()), "widened": list(self.widened.values())}
        return {what: of for what, of in said.items() if of}

    @property
    def notes(self) -> list[str]:
        """What a person should know."""
        return [
            f"{url}: {path}: {len(names)} branches were back-filled: {_some(names)}"
            for url, of in self.filled.items()
            for path, names in of.items()
        ] + [
            f"{url}: {path}: {len(types)} branches were widened: "
            + _some([f"{name} ({kinds})" for name, kinds in types.items()])
            for url, each in self.widened.items()
            for path, types in each.items()
        ]


def _some(names: Collection[str]) -> str:
    return ", ".join(list(names)[:_NAMED]) + (" ..." if len(names) > _NAMED else "")
