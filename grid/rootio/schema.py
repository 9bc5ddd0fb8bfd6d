"""Compare the branches of two trees that should be the same, and say in words how they differ."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grid.trigger.menu import MENU_PREFIX
from sitecfg.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from grid.rootio.columns import Branch

__all__ = ["same_branches"]

_NAMED = 8


def same_branches(
    first: Sequence[Branch],
    other: Sequence[Branch],
    *,
    where: str,
    reference: str,
    menu_prefix: str = MENU_PREFIX,
) -> None:
    """Check that two trees have the same branches of the same types; order and titles may differ.

    Parameters
    ----------
    first, other
        The branches.
    where, reference
        The files of `other` and of `first`, for messages.
    menu_prefix
        What the names of trigger-path branches begin with.

    Raises
    ------
    SchemaMismatch
        Naming the differences; ``facts`` holds all of them.
    """
    a, b = {branch.name: branch for branch in first}, {branch.name: branch for branch in other}
    missing, extra = [name for name in a if name not in b], [name for name in b if name not in a]
    changed = [
        f"{name} is {_type(b[name])}, not {_type(a[name])}"
        for name in a
        if name in b and not a[name].same_type(b[name])
    ]
    if not (missing or extra or changed):
        return
    words = [
        f"{len(names)} {what}: {', '.join(names[:_NAMED])}" + (" ..." if len(names) > _NAMED else "")
        for what, names in (
            ("branches are missing", missing),
            ("branches are not expected", extra),
            ("types differ", changed),
        )
        if names
    ]
    menus = any(name.startswith(menu_prefix) for name in (*missing, *extra))
    raise SchemaMismatch(
        f"{'another trigger menu' if menus else 'another schema'} than {reference}: {'; '.join(words)}",
        where=where,
        todo="merge only files of one schema" + (" and one trigger menu" if menus else ""),
        missing=missing,
        extra=extra,
        changed=changed,
    )


def _type(branch: Branch) -> str:
    dims = "".join(f"[{n}]" for n in branch.shape)
    lists = f"[{branch.counter}]" if branch.counter is not None else "<>" * branch.jagged
    value = branch.typename if branch.dtype.names is not None else branch.dtype
    return f"{'text' if branch.text else value}{lists}{dims}"
