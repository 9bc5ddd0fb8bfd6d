"""Decide which branches of a tree go into an output, and name those that can't."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grid.rootio.format.leaves import describe
from grid.rootio.keep import Rule, kept
from sitecfg.errors import UnsupportedContent, UsageError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from grid.rootio.columns import Branch
    from grid.rootio.source import TreeInfo

__all__ = ["Carried", "carry", "unwritable"]


@dataclass(frozen=True, slots=True)
class Carried:
    """What of a tree is written.

    Parameters
    ----------
    path, title
        Of the tree.
    branches
        In the order of the input.
    dropped
        Branch (or part of the tree, in angle brackets) and the reason.
    """

    path: str
    title: str
    branches: tuple[Branch, ...]
    dropped: tuple[tuple[str, str], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the branches."""
        return tuple(branch.name for branch in self.branches)


def carry(
    info: TreeInfo,
    *,
    where: str,
    rules: Sequence[Rule] = (),
    need: Collection[str] = (),
    on_refused: str = "refuse",
    format: str | None = None,  # noqa: A002 -- the recipe's word
) -> Carried:
    """Choose the branches of a tree that are written.

    A branch that counts the values of a kept array is kept as well.

    Parameters
    ----------
    info
        The tree.
    where
        The file, for messages.
    rules
        Keep/drop rules; they can drop what would be refused.
    need
        Branches that no rule may drop.
    on_refused
        ``"refuse"`` or ``"drop"``: what happens to branches that can't be carried.
    format
        ``"ttree"`` allows to write an RNTuple as TTree.

    Raises
    ------
    UnsupportedContent
        Naming every branch that can't be carried, with the reason.
    UsageError
        If a rule matches nothing, or drops a branch that is needed.
    """
    place = f"{where}: {info.path}"
    if info.kind == "RNTuple" and format != "ttree":
        raise UnsupportedContent(
            "it is an RNTuple, and only TTrees can be written",
            where=place,
            todo='say format="ttree" to get a TTree',
        )
    refused = {**unwritable(info), **dict(info.refused)}
    names = [branch.name for branch in info.branches]
    stay = kept(rules, [*names, *(name for name in refused if name not in names)], where=place)
    if lost := [name for name in need if name in names and name not in stay]:
        raise UsageError(
            f"the rules drop {', '.join(lost)}, which identify the events",
            where=place,
            todo=f'add "keep {lost[0]}"',
        )
    bad = {name: why for name, why in refused.items() if name in stay}
    if bad and on_refused != "drop":
        listed = "; ".join(f"{name} ({why})" for name, why in list(bad.items())[:5])
        more = f"; and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise UnsupportedContent(
            f"these can't be carried: {listed}{more}",
            where=place,
            todo='drop them by rule, or say on_refused="drop"',
            refused=bad,
        )
    able = [branch for branch in info.branches if branch.name not in refused]
    counting = {branch.counter for branch in able if branch.name in stay}
    chosen = [branch for branch in able if branch.name in stay or branch.name in counting]
    taken = {branch.name for branch in chosen}
    dropped = [(name, refused.get(name, "by rule")) for name in names if name not in taken]
    dropped += [(name, why) for name, why in info.refused if name not in names]
    return Carried(info.path, info.title, tuple(chosen), tuple(dropped))


def unwritable(info: TreeInfo) -> dict[str, str]:
    """Return the branches that can be read but not written, and why."""
    by_name = info.by_name()
    found = {}
    for branch in info.branches:
        counter = by_name.get(branch.counter) if branch.counter is not None else None
        try:
            describe([branch] if counter is None else [counter, branch], info.path)
        except UnsupportedContent as error:
            found[branch.name] = error.what
    return found
