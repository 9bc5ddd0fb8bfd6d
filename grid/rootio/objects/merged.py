"""One object of the output: the first input's, and what the others add to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grid.rootio.objects.dissect import dissect
from sitecfg.errors import SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from grid.rootio.objects.stored import Stored

__all__ = ["Merged"]

_SHOWN = 60


class Merged:
    """An object that is put together.

    Attributes
    ----------
    inputs
        How many inputs have it.
    differs
        Whether some of them differ in what is of no account; the first one's was kept.
    """

    def __init__(self, first: Stored) -> None:
        self.first = first
        self.inputs = 1
        self.differs = False
        self._anatomy = dissect(first)
        self._values = {name: part.values for name, part in self._anatomy.parts.items()}
        self._rest = self._anatomy.rest(first)
        first.forget()

    def add(self, other: Stored) -> None:
        """Put an input's object to it.

        Raises
        ------
        SchemaMismatch
            If it is none that can be added: the first difference is named.
        UnsupportedContent
            If objects like it can't be added at all.
        """
        first = self.first
        if other.class_name != first.class_name:
            raise SchemaMismatch(
                f"it is a {other.class_name}, but a {first.class_name} in {first.where}", where=other.where
            )
        anatomy = dissect(other)
        if alone := self._anatomy.alone or anatomy.alone:
            raise UnsupportedContent(f"a {other.class_name} can't be added: {alone}", where=other.where)
        mine, theirs = self._anatomy.same, anatomy.same
        for name in [*mine, *theirs]:
            if name not in mine or name not in theirs or mine[name] != theirs[name]:
                raise SchemaMismatch(
                    f"this {other.class_name} differs from that in {first.where}: "
                    f"{name} is {_shown(theirs.get(name))} instead of {_shown(mine.get(name))}",
                    where=other.where,
                    todo=self._anatomy.todo,
                )
        if anatomy.parts.keys() != self._values.keys():
            raise SchemaMismatch(
                f"this {other.class_name} has other members than that in {first.where}", where=other.where
            )
        values = {name: part.values for name, part in anatomy.parts.items()}
        try:
            self._values = {
                name: part.combine(name, self._values, values) for name, part in self._anatomy.parts.items()
            }
        except SchemaMismatch as error:
            error.where = other.where
            raise
        self.inputs += 1
        self.differs |= anatomy.rest(other) != self._rest

    def body(self, key_length: int) -> bytes:
        """Return the object's bytes for a key of this length."""
        parts = self._anatomy.parts
        contents: dict[tuple[int, int], bytes] = {}
        for name, part in parts.items():
            contents |= part.encode(self._values[name])
        return self.first.filled(contents, key_length)


def _shown(value: Any) -> str:
    if isinstance(value, bytes):
        return f"{len(value)} other bytes"
    text = "nothing" if value is None else str(value)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + " …"
