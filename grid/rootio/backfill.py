"""Bring files whose branches differ to one schema by explicit rules: nothing is lost, and what is made up is recorded.

A branch that a file lacks is filled: trigger bits and other numbers with 0, lists with nothing. A number that is
narrower in some files becomes as wide as all its values need. Whatever else differs is refused.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.columns import Branch, Column
from sitecfg.errors import SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["fill", "fill_all", "unite"]

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
    columns: Mapping[str, Column], mine: Sequence[Branch], wanted: Sequence[Branch], entries: int, where: str
) -> dict[str, Column]:
    """Return the columns of all `wanted` branches, for a file that has `mine`.

    Raises
    ------
    SchemaMismatch
        If an array is not as long as what counts its values in the output says.
    UnsupportedContent
        If a number that counts values is too large for what counts them in the output.
    """
    there = {branch.name for branch in mine}
    filled: dict[str, Column] = {}
    for branch in wanted:
        if branch.name not in there:
            counts = columns[branch.counter].values if branch.counter in there else None
            filled[branch.name] = _made(branch, entries, counts)
            continue
        column = columns[branch.name]
        if column.values.dtype != branch.dtype:
            values = column.values.astype(branch.dtype)
            if (values != column.values).any():
                raise UnsupportedContent(
                    f"{branch.name} counts more values than an output can say", where=where
                )
            column = Column(values, column.offsets)
        filled[branch.name] = column
    for branch in wanted:
        if branch.counter is not None and (filled[branch.name].counts != filled[branch.counter].values).any():
            raise SchemaMismatch(
                f"{branch.name} has not as many values as {branch.counter} says, which counts them in the output",
                where=where,
                todo="merge them apart, or leave the branch out",
            )
    return filled


def fill_all(
    trees: Mapping[str, Mapping[str, Column]],
    mine: Mapping[str, Sequence[Branch]],
    wanted: Mapping[str, Sequence[Branch]],
    entries: int,
    url: str,
) -> dict[str, dict[str, Column]]:
    """Fill the columns of several trees of a file, as :func:`fill` does those of one."""
    return {path: fill(trees[path], mine[path], of, entries, f"{url}: {path}") for path, of in wanted.items()}


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
    return None if common.kind == "f" and kinds != {"f"} else replace(one, dtype=common, typename="")


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
