"""What a branch is, and what its values look like in memory, for any source and any sink."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Branch", "Column"]


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch of a tree, as its file declares it.

    Parameters
    ----------
    name
        The full name of the branch in its tree.
    title
        The branch's title; the documentation of a NanoAOD branch lives there.
    dtype
        The type of one leaf value, native byte order; ``uint8`` for text. A branch of several
        leaves has a structured one, packed, with a field per leaf.
    shape
        Fixed inner dimensions: ``x[3][2]`` has ``(3, 2)``, a plain number ``()``.
    jagged
        The number of variable dimensions: 0 for a fixed size per entry, 1 for ``x[n]`` and
        ``std::vector<T>``, 2 for ``std::vector<std::vector<T>>``.
    counter
        The branch that holds the length of a C-style variable array; ``None`` with
        ``jagged >= 1`` means a ``std::vector``.
    text
        Whether a value is a string of bytes; it has one level of offsets more.
    typename
        The type as ROOT spells it.
    """

    name: str
    title: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    jagged: int = 0
    counter: str | None = None
    text: bool = False
    typename: str = ""

    @property
    def levels(self) -> int:
        """The number of offset arrays that a :class:`Column` of this branch has."""
        return self.jagged + int(self.text)

    def empty(self) -> Column:
        """Return a column of this branch with no entry."""
        offsets = tuple(np.zeros(1, np.int64) for _ in range(self.levels))
        return Column(np.zeros((0, *self.shape), self.dtype), offsets)

    def same_type(self, other: Branch) -> bool:
        """Whether values of `other` can be written into this branch as they are (titles may differ)."""
        return replace(self, title="", typename="") == replace(other, title="", typename="")


@dataclass(frozen=True, slots=True, eq=False)
class Column:
    """The values of one branch for a range of entries.

    Parameters
    ----------
    values
        All leaf values one behind the other, shape ``(k, *branch.shape)``, native byte order,
        C-contiguous.
    offsets
        One int64 array per variable dimension, outermost first. ``offsets[0]`` has length
        ``n + 1``; every array starts at 0 and ends at the length of the level below.
        Empty for a fixed size per entry. The bytes of text are the innermost level.
    """

    values: NDArray[Any]
    offsets: tuple[NDArray[np.int64], ...] = ()

    def __len__(self) -> int:
        return len(self.offsets[0]) - 1 if self.offsets else len(self.values)

    @property
    def nbytes(self) -> int:
        """The memory that values and offsets take, in bytes."""
        return int(self.values.nbytes) + sum(int(level.nbytes) for level in self.offsets)

    @property
    def counts(self) -> NDArray[np.int64]:
        """The length of the outermost variable dimension, int64 ``[n]``; only with offsets."""
        return np.diff(self.offsets[0])

    def slice(self, start: int, stop: int) -> Column:
        """Return the entries ``start <= i < stop``; the values are a view, nothing is copied."""
        offsets = []
        for level in self.offsets:
            part = level[start : stop + 1]
            start, stop = int(part[0]), int(part[-1])
            offsets.append(part - start)
        return Column(self.values[start:stop], tuple(offsets))

    def take(self, index: NDArray[np.int64]) -> Column:
        """Return the entries at `index` (int64, any order), copied.

        Raises
        ------
        ValueError
            If an offset or an index points outside of the column.
        """
        if not self.offsets:
            return Column(self.values[index])
        from kernels import jagged

        offsets = []
        for level in self.offsets[:-1]:
            new, index = jagged.gather(level, index)
            offsets.append(new)
        width = _width(self.values)
        data, last = jagged.gather_bytes(_as_bytes(self.values), self.offsets[-1] * width, index)
        offsets.append(last // width)
        values = data.view(self.values.dtype).reshape(-1, *self.values.shape[1:])
        return Column(values, tuple(offsets))

    @staticmethod
    def concatenate(parts: Sequence[Column]) -> Column:
        """Put columns of one branch behind each other.

        Raises
        ------
        ValueError
            If there is no part, or if they are not of one type.
        """
        if not parts:
            raise ValueError("there is nothing to put together")
        first = parts[0]
        if len(parts) == 1:
            return first
        for part in parts:
            if (part.values.dtype, part.values.shape[1:], len(part.offsets)) != (
                first.values.dtype,
                first.values.shape[1:],
                len(first.offsets),
            ):
                raise ValueError("columns of different types can't be put together")
        offsets = [
            _join_offsets([part.offsets[level] for part in parts]) for level in range(len(first.offsets))
        ]
        return Column(np.concatenate([part.values for part in parts]), tuple(offsets))

    def content(self, salt: int) -> NDArray[np.uint64]:
        """Hash the bytes and the structure of each entry.

        Parameters
        ----------
        salt
            What keeps branches apart, see ``kernels.content.salt_of``.

        Returns
        -------
        uint64 ``[n]``
            One hash per entry; it depends on nothing but the entry's own values and lengths.
        """
        from kernels import content

        seed = np.uint64(salt)
        width = _width(self.values)
        if not self.offsets:
            return content.fixed(_as_bytes(self.values).reshape(len(self.values), width), seed)
        total = np.zeros(len(self), np.uint64)
        bounds = np.arange(len(self) + 1, dtype=np.int64)
        for depth, level in enumerate(self.offsets[1:], start=1):
            # where each inner list ends, counted from the entry's own start, is structure too
            bounds = self.offsets[depth - 1][bounds]
            lengths = np.ascontiguousarray(np.diff(level))
            total += content.jagged(
                bounds[:-1] * 8, bounds[1:] * 8, _as_bytes(lengths), seed + np.uint64(depth)
            )
        bounds = self.offsets[-1][bounds] * width
        total += content.jagged(bounds[:-1], bounds[1:], _as_bytes(self.values), seed)
        return total

    def to_awkward(self, *, text: bool = False) -> Any:
        """Return the column as an ``awkward.Array`` that shares its memory; `text` makes strings."""
        import awkward as ak

        levels = list(self.offsets)
        layout: Any
        if text:
            layout = ak.contents.NumpyArray(self.values, parameters={"__array__": "char"})
            layout = ak.contents.ListOffsetArray(
                ak.index.Index64(levels.pop()), layout, parameters={"__array__": "string"}
            )
        else:
            layout = _layout_of(self.values)
        for level in reversed(levels):
            layout = ak.contents.ListOffsetArray(ak.index.Index64(level), layout)
        return ak.Array(layout)

    @staticmethod
    def from_awkward(array: Any, branch: Branch) -> Column:
        """Return the column for `branch` that an ``awkward.Array`` holds.

        Raises
        ------
        ValueError
            If the array is not of the branch's type: other nesting, other leaf type, missing
            values, records or unions. Nothing is converted silently.
        """
        import awkward as ak

        layout = ak.to_layout(ak.to_packed(array))
        offsets = []
        for depth in range(branch.levels):
            layout = _as_list(layout, branch, text=branch.text and depth == branch.levels - 1)
            offsets.append(np.ascontiguousarray(layout.offsets.data, dtype=np.int64))
            layout = layout.content[: offsets[-1][-1]]
        if layout.is_unknown:
            return Column(np.zeros((0, *branch.shape), branch.dtype), tuple(offsets))
        return Column(_values_of(layout, branch.name, branch.dtype, branch.shape), tuple(offsets))


def _layout_of(values: NDArray[Any]) -> Any:
    """Return numbers as an awkward layout; those with several fields as records."""
    import awkward as ak

    names = values.dtype.names
    if names is None:
        return ak.contents.NumpyArray(values)
    return ak.contents.RecordArray([_layout_of(values[name]) for name in names], list(names), len(values))


def _values_of(layout: Any, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """Return the numbers of an awkward layout, or refuse it."""
    import awkward as ak

    if dtype.names is not None:
        if not layout.is_record or tuple(layout.fields) != dtype.names:
            raise ValueError(
                f"{name} should have the fields {', '.join(dtype.names)}, not {layout.form.type}"
            )
        records = np.empty(len(layout), dtype)
        for field in dtype.names:
            base, inner = dtype[field].subdtype or (dtype[field], ())
            records[field] = _values_of(layout[field], f"{name}.{field}", base, inner)
        return records
    if not (layout.is_numpy or layout.is_regular):
        raise ValueError(f"{name} should hold numbers, not {layout.form.type}")
    values = np.ascontiguousarray(ak.to_numpy(ak.Array(layout), allow_missing=False))
    if values.dtype != dtype or values.shape[1:] != shape:
        raise ValueError(
            f"{name} should hold {dtype}{list(shape) or ''}, not {values.dtype}{list(values.shape[1:]) or ''}"
        )
    return values


def _as_list(layout: Any, branch: Branch, *, text: bool) -> Any:
    """Return an awkward layout as one level of lists with offsets from 0, or refuse it."""
    import awkward as ak

    if layout.is_unknown:
        return ak.contents.ListOffsetArray(ak.index.Index64(np.zeros(1, np.int64)), layout)
    if not layout.is_list:
        raise ValueError(
            f"{branch.name} should have {branch.levels} variable dimensions, not {layout.form.type}"
        )
    if (layout.parameter("__array__") in {"string", "bytestring"}) != text:
        raise ValueError(f"{branch.name} should {'' if text else 'not '}be text, not {layout.form.type}")
    return layout.to_ListOffsetArray64(True)


def _width(values: NDArray[Any]) -> int:
    """Count the bytes per element of the innermost level."""
    return int(values.dtype.itemsize * math.prod(values.shape[1:]))


def _as_bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    """View the same memory as flat bytes."""
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def _join_offsets(levels: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    shifts = np.cumsum([0, *(int(level[-1]) for level in levels)])
    parts = [levels[0], *(level[1:] + shift for level, shift in zip(levels[1:], shifts[1:-1], strict=True))]
    return np.concatenate(parts)
