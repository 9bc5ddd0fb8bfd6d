"""Parameters: one number each, put together as ROOT's ``TParameter`` says in its bits."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from grid.rootio.objects.adding import added
from grid.rootio.objects.anatomy import Anatomy, Part, number, numbers
from sitecfg.errors import SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from grid.rootio.format.nodes import Node
    from grid.rootio.objects.stored import Stored

    Values = Mapping[str, NDArray[Any]]

__all__ = ["is_parameter", "parameter"]

_CLASSES: Final = re.compile(r"TParameter<[\w ]+>")
_MULTIPLY, _MAX, _MIN, _FIRST, _LAST, _CONSTANT = (1 << bit for bit in range(16, 22))
#: Where the bits are in a TObject.
_BITS: Final = 6


def is_parameter(class_name: str) -> bool:
    """Return whether objects of a class are parameters."""
    return _CLASSES.fullmatch(class_name) is not None


def parameter(stored: Stored, node: Node, path: str, anatomy: Anatomy) -> None:
    """Add what a parameter consists of to an anatomy, under names that begin with `path`.

    Raises
    ------
    UnsupportedContent
        If it is not described as parameters are.
    """
    plain = numbers(node)
    if "fVal" not in plain or "TObject" not in node.marks:
        raise UnsupportedContent(
            f"its {node.class_name} is described in a way that is not known here", where=stored.where
        )
    at = node.marks["TObject"][0] + _BITS
    bits = number(stored, (at, "u4"))
    mode = int(bits[0]) & (_MULTIPLY | _MAX | _MIN | _FIRST | _LAST)
    anatomy.same[path + "mode of merging"] = mode
    place, kind = plain["fVal"]
    value, flags = path + "fVal", path + "bits"
    is_bool = node.class_name == "TParameter<bool>"
    rule = _rule_of_bools(mode) if is_bool else _rule(mode)
    anatomy.parts[flags] = Part(at, at + 4, bits, "", _constant(value))
    values = number(stored, (place, kind))
    anatomy.parts[value] = Part(place, place + values.itemsize, values, "", rule)


def _constant(value: str) -> Callable[[str, Values, Values], NDArray[Any]]:
    """Return what takes away the bit that says that all values were equal, once they aren't."""

    def combine(name: str, mine: Values, other: Values) -> NDArray[Any]:
        constant = (mine[value] == other[value]) & ((other[name] & _CONSTANT) != 0)
        return np.where(constant, mine[name], mine[name] & ~np.uint32(_CONSTANT))

    return combine


def _rule(mode: int) -> Callable[[str, Values, Values], NDArray[Any]]:
    if mode & _MULTIPLY:
        return _product
    if mode & _MAX:
        return lambda name, mine, other: np.where(other[name] > mine[name], other[name], mine[name])
    if mode & _MIN:
        return lambda name, mine, other: np.where(other[name] < mine[name], other[name], mine[name])
    if mode & _LAST:
        return lambda name, _, other: other[name]
    return (lambda name, mine, _: mine[name]) if mode & _FIRST else added


def _rule_of_bools(mode: int) -> Callable[[str, Values, Values], NDArray[Any]]:
    if mode & (_MULTIPLY | _MIN):
        return lambda name, mine, other: mine[name] & other[name]
    if mode & _LAST:
        return lambda name, _, other: other[name]
    if mode & _FIRST and not mode & _MAX:
        return lambda name, mine, _: mine[name]
    return lambda name, mine, other: mine[name] | other[name]


def _product(name: str, mine: Values, other: Values) -> NDArray[Any]:
    one, two = mine[name], other[name]
    with np.errstate(all="ignore"):  # infinities and NaN multiply as ROOT multiplies them
        product = one * two
    if product.dtype.kind != "f" and int(one[0]) * int(two[0]) != int(product[0]):
        raise SchemaMismatch(f"{name} gets too large for its type: {one[0]} times {two[0]}")
    return product
