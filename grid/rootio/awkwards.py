"""Between columns and awkward arrays: what a user's function sees, and what its answer means as branches."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.columns import Branch, Column

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["branch_of", "column_of", "record_of"]


def record_of(
    trees: Mapping[str, Mapping[str, Column]], branches: Mapping[str, Sequence[Branch]], length: int
) -> Any:
    """Return events as one awkward array of records that shares the columns' memory, read-only.

    With one tree its branches are the fields; with several each tree is a field.
    """
    import awkward as ak

    records = {
        path: ak.contents.RecordArray(
            [
                _read_only(columns[branch.name]).to_awkward(text=branch.text).layout
                for branch in branches[path]
            ],
            [branch.name for branch in branches[path]],
            length=length,
        )
        for path, columns in trees.items()
    }
    if len(records) == 1:
        return ak.Array(next(iter(records.values())))
    return ak.Array(ak.contents.RecordArray(list(records.values()), list(records), length=length))


def column_of(array: Any, branch: Branch) -> Column:
    """Return the column that an awkward array holds, as values of `branch`.

    Raises
    ------
    ValueError
        If the array is of another type; nothing is converted silently.
    """
    return Column.from_awkward(array, branch)


def branch_of(name: str, array: Any, known: Mapping[str, Branch], arrays: Mapping[str, Any]) -> Branch:
    """Return the branch that a user's column needs.

    A branch that was there before and keeps its type stays as it was. A jagged column of the type
    ``Jet_x``, with as many values as the branch ``nJet`` says, becomes an array that ``nJet``
    counts; other jagged columns become a ``std::vector``.

    Parameters
    ----------
    name, array
        The column.
    known
        The branches of the input.
    arrays
        All columns of the answer.

    Raises
    ------
    ValueError
        If no branch can hold it: records, unions, missing values, an unknown type.
    """
    before = known.get(name)
    if before is not None and (before.counter is None or before.counter in arrays):
        try:
            column_of(array, before)
        except ValueError:
            pass
        else:
            return before
    found = _shape_of(name, array)
    if before is not None:
        found = replace(found, title=before.title)
    if found.jagged == 1 and not found.text:
        counter = f"n{name.partition('_')[0]}"
        if _counts(counter, array, known, arrays):
            return replace(found, counter=counter)
    return found


def _read_only(column: Column) -> Column:
    views = [column.values.view(), *(level.view() for level in column.offsets)]
    for view in views:
        view.flags.writeable = False
    return Column(views[0], tuple(views[1:]))


def _counts(counter: str, array: Any, known: Mapping[str, Branch], arrays: Mapping[str, Any]) -> bool:
    import awkward as ak

    branch = known.get(counter)
    if branch is None or counter not in arrays or branch.dtype.kind not in "iu" or branch.levels:
        return False
    return bool(ak.all(ak.num(array) == arrays[counter]))


def _shape_of(name: str, array: Any) -> Branch:
    """Read a branch's type off an array."""
    import awkward as ak

    layout = ak.to_layout(ak.to_packed(array))
    jagged = 0
    while layout.is_list and not layout.is_regular:
        if layout.parameter("__array__") in {"string", "bytestring"}:
            return Branch(name, name, np.dtype(np.uint8), (), jagged, None, True, _spelled("string", jagged))
        layout, jagged = layout.content, jagged + 1
    shape = []
    while layout.is_regular:
        shape.append(int(layout.size))
        layout = layout.content
    if not layout.is_numpy:
        raise ValueError(f"{name} is {ak.type(array).content}; only numbers, texts and lists of them can be")
    values = np.asarray(layout.data)
    if values.dtype.kind not in "biuf":
        raise ValueError(f"{name} holds {values.dtype}, which no branch can hold")
    return Branch(name, name, values.dtype.newbyteorder("="), (*shape, *values.shape[1:]), jagged)


def _spelled(element: str, jagged: int) -> str:
    name = f"std::{element}"
    for _ in range(jagged):
        name = f"std::vector<{name}>"
    return name
