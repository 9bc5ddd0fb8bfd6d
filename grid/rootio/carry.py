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
    from grid.rootio.source import Source, TreeInfo

__all__ = ["Carried", "carry", "carry_others", "unwritable"]


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
        Branch (or part of the tree, in angle brackets; or "", the whole tree) and the reason.
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
    infos: Sequence[TreeInfo],
    *,
    where: str,
    rules: Sequence[Rule] = (),
    need: Collection[str] = (),
    on_refused: str = "refuse",
    format: str | None = None,  # noqa: A002 -- the recipe's word
) -> list[Carried]:
    """Choose the branches of some trees that are written.

    A branch that counts the values of a kept array is kept as well.

    Parameters
    ----------
    infos
        The trees; a rule has to match a branch of one of them.
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
    if on_refused not in {"refuse", "drop"}:
        raise UsageError(f'on_refused is "refuse" or "drop", not {on_refused!r}')
    if format not in {None, "ttree"}:
        raise UsageError(f'format is "ttree" or not given, not {format!r}')
    for info in infos:
        if info.kind == "RNTuple" and format != "ttree":
            raise UnsupportedContent(
                "it is an RNTuple, and its fields are written as they are, or not at all",
                where=f"{where}: {info.path}",
                todo='leave away rules, functions and the identity "entry", or say format="ttree" '
                "(--format ttree) to get a TTree",
            )
    refused = {info.path: {**unwritable(info), **dict(info.refused)} for info in infos}
    names = [branch.name for info in infos for branch in info.branches]
    names += [name for reasons in refused.values() for name in reasons if name not in names]
    stay = kept(rules, names, where=where)
    if lost := [name for name in need if name in names and name not in stay]:
        raise UsageError(
            f"the rules drop {', '.join(lost)}, which identify the events",
            where=where,
            todo=f'add "keep {lost[0]}"',
        )
    bad = {
        path: {name: why for name, why in reasons.items() if name in stay}
        for path, reasons in refused.items()
    }
    if on_refused == "refuse":
        _refuse(bad, where)
    return [_choose(info, refused[info.path], stay) for info in infos]


def carry_others(source: Source, on_refused: str) -> tuple[tuple[str, str, str], ...]:
    """Return the objects of a file that are no trees, as dropped: (path, "", reason).

    Raises
    ------
    UnsupportedContent
        Naming them, unless they may be dropped.
    """
    if source.others and on_refused == "refuse":
        listed = ", ".join(f"{path} ({kind})" for path, kind in source.others[:5])
        more = f" and {len(source.others) - 5} more" if len(source.others) > 5 else ""
        raise UnsupportedContent(
            f"these objects can't be carried yet: {listed}{more}",
            where=source.url,
            todo='say on_refused="drop" (--drop-refused) to leave them out',
            refused=dict(source.others),
        )
    return tuple((path, "", f"a {kind} can't be carried yet") for path, kind in source.others)


def _refuse(bad: dict[str, dict[str, str]], where: str) -> None:
    found = [(path, name, why) for path, reasons in bad.items() for name, why in reasons.items()]
    if not found:
        return
    listed = "; ".join(f"{name} ({why})" for _, name, why in found[:5])
    more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
    trees = ", ".join(path for path, reasons in bad.items() if reasons)
    raise UnsupportedContent(
        f"these can't be carried: {listed}{more}",
        where=f"{where}: {trees}",
        todo='drop them by rule, or say on_refused="drop" (--drop-refused)',
        refused=bad,
    )


def _choose(info: TreeInfo, refused: dict[str, str], stay: set[str]) -> Carried:
    able = [branch for branch in info.branches if branch.name not in refused]
    counting = {branch.counter for branch in able if branch.name in stay}
    chosen = [branch for branch in able if branch.name in stay or branch.name in counting]
    taken = {branch.name for branch in chosen}
    dropped = [(b.name, refused.get(b.name, "by rule")) for b in info.branches if b.name not in taken]
    dropped += [(name, why) for name, why in info.refused if name not in info.by_name()]
    if not chosen:
        dropped.append(("", "no branch of the tree is left"))
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
