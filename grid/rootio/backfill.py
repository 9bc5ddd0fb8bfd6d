"""Bring files whose branches differ to one schema by explicit rules: nothing is lost, and what is made up is recorded.

A branch that a file lacks is filled: trigger bits and other numbers with 0, lists with nothing, or with as many 0 as
their counter says; a counter says how long the lists are that it counts. A number that is narrower in some files
becomes as wide as all its values need: a signed one as unsigned as theirs only if none of its values is negative.
Whatever else differs is refused.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.columns import Branch, Column
from grid.rootio.format.leaves import LARGEST_ENTRY
from sitecfg.errors import CorruptFile, SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["check_counts", "fill", "fill_all", "not_as_long", "unite", "widened"]

#: So many differences are named in a message.
_NAMED = 8
#: What counts the values of arrays: ROOT knows no wider type for that.
_COUNTER = np.dtype(np.int32)


def unite(files: Iterable[tuple[str, Sequence[Branch]]]) -> tuple[Branch, ...]:
    """Return the branches that hold what those of all files hold: in the order in which they are first met.

    Parameters
    ----------
    files
        (file and tree, for messages; its branches) of each input.

    Raises
    ------
    SchemaMismatch
        If a branch is of types that no rule brings together; both files are named.
    """
    united: dict[str, Branch] = {}
    told_by: dict[str, str] = {}
    branches: list[Branch] = []
    for where, mine in files:
        branches += mine
        wrong = []
        for branch in mine:
            known = united.setdefault(branch.name, branch)
            told_by.setdefault(branch.name, where)
            wider = _wider(known, branch)
            if wider is None:
                wrong.append(f"{branch.name} ({told_by[branch.name]})")
            else:
                united[branch.name] = wider
        if wrong:
            more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
            raise SchemaMismatch(
                f"no rule brings these together with what other files hold: {', '.join(wrong[:_NAMED])}{more}",
                where=where,
                todo="merge them apart",
                changed=wrong,
            )
    for name in {branch.counter for branch in branches} - {None}:
        if name in united and any(not united[name].same_type(one) for one in branches if one.name == name):
            united[name] = replace(united[name], dtype=_COUNTER, typename="")
    return tuple(united.values())


def fill(
    columns: Mapping[str, Column],
    mine: Sequence[Branch],
    wanted: Sequence[Branch],
    entries: int,
    where: str,
    first: int = 0,
) -> dict[str, Column]:
    """Return the columns of all `wanted` branches, for a file that has `mine`.

    Parameters
    ----------
    columns
        Some entries of it, `entries` of them, from the entry `first` on.
    where
        The file and the tree, for messages.

    Raises
    ------
    SchemaMismatch
        If an array is not as long as what counts its values in the output says.
    UnsupportedContent
        If a number can't be said by the wider type; branch and entry are named.
    """
    there = {branch.name for branch in mine}
    filled = {
        branch.name: widened(columns[branch.name], branch, where, first)
        for branch in wanted
        if branch.name in there
    }
    lengths = {
        branch.counter: filled[branch.name].counts
        for branch in wanted
        if branch.counter is not None and branch.name in there
    }
    missing = [branch for branch in wanted if branch.name not in there]
    for branch in missing:
        if branch.name in lengths:
            filled[branch.name] = Column(lengths[branch.name].astype(branch.dtype))
        elif branch.counter is None:
            filled[branch.name] = _made(branch, entries, None)
    for branch in missing:
        if branch.counter is not None:
            counts = filled[branch.counter].values
            check_counts(branch, counts, where)
            filled[branch.name] = _made(branch, entries, counts)
    for branch in wanted:
        if branch.counter is not None and (filled[branch.name].counts != filled[branch.counter].values).any():
            raise not_as_long(branch, where)
    return {branch.name: filled[branch.name] for branch in wanted}


def not_as_long(branch: Branch, where: str) -> SchemaMismatch:
    """Return the error that says that an array and its counter in the output contradict each other."""
    return SchemaMismatch(
        f"{branch.name} has not as many values as {branch.counter} says, which counts them in the output",
        where=where,
        todo="merge them apart, or leave the branch out",
    )


def check_counts(branch: Branch, counts: NDArray[Any], where: str) -> None:
    """Check that a list can be made that is as long as these say.

    Raises
    ------
    CorruptFile
        If some are negative.
    UnsupportedContent
        If nothing could hold it.
    """
    least, most = int(counts.min(initial=0)), int(counts.max(initial=0))
    if least < 0:
        raise CorruptFile(f"{branch.counter} counts {least} values", where=where)
    if most * branch.dtype.itemsize * math.prod(branch.shape) > LARGEST_ENTRY:
        raise UnsupportedContent(
            f"{branch.name} would have {most} values in an entry, as many as {branch.counter} says",
            where=where,
        )


def widened(column: Column, branch: Branch, where: str, first: int) -> Column:
    """Return a column with the type of a branch of the output; `first` is its first entry.

    Raises
    ------
    UnsupportedContent
        If a value can't be said by that type.
    """
    if column.values.dtype == branch.dtype:
        return column
    values = column.values.astype(branch.dtype)
    if branch.dtype.kind != "f":
        # a sign can turn into a bit that means something else, and the other way
        lost = (values.astype(column.values.dtype) != column.values) | ((values < 0) != (column.values < 0))
        if lost.any():
            row = int(np.flatnonzero(lost)[0])
            value, entry = column.values.reshape(-1)[row], row // math.prod(branch.shape)
            for level in reversed(column.offsets):
                entry = int(np.searchsorted(level, entry, side="right")) - 1
            raise UnsupportedContent(
                f"{branch.name} is {value} in entry {first + entry}, and the output's {branch.dtype} can't say that",
                where=where,
                todo="merge them apart, or leave the branch out",
            )
    return Column(values, column.offsets)


def fill_all(
    trees: Mapping[str, Mapping[str, Column]],
    mine: Mapping[str, Sequence[Branch]],
    wanted: Mapping[str, Sequence[Branch]],
    entries: int,
    url: str,
    first: int,
) -> dict[str, dict[str, Column]]:
    """Fill the columns of several trees of a file, as :func:`fill` does those of one."""
    return {
        path: fill(trees[path], mine[path], of, entries, f"{url}: {path}", first)
        for path, of in wanted.items()
    }


def _wider(one: Branch, other: Branch) -> Branch | None:
    """Return the branch that holds the values of both, if there is one."""
    if one.counter is not None and other.counter is not None:
        other = replace(other, counter=one.counter)  # their lengths are compared when they are filled
    if one.same_type(other):
        return one
    if not replace(one, dtype=other.dtype).same_type(other) or one.text:
        return None
    kinds = {one.dtype.kind, other.dtype.kind}
    if not (kinds <= set("iu") or kinds == {"f"}):
        return None
    common = np.promote_types(one.dtype, other.dtype)
    if common.kind == "f" and kinds != {"f"}:
        common = np.dtype(np.uint64)  # no signed type is wider: values tell whether that will do
    return replace(one, dtype=common, typename="")


def _made(branch: Branch, entries: int, counts: Any) -> Column:
    """Return a column of a branch that a file does not have."""
    if not branch.levels:
        return Column(np.zeros((entries, *branch.shape), branch.dtype))
    if counts is None:
        first = np.zeros(entries + 1, np.int64)
    else:
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    below = [np.zeros(int(first[-1]) + 1, np.int64)] if branch.levels > 1 else []
    deeper = [np.zeros(1, np.int64) for _ in range(branch.levels - 2)]
    held = 0 if branch.levels > 1 else int(first[-1])
    return Column(np.zeros((held, *branch.shape), branch.dtype), (first, *below, *deeper))
