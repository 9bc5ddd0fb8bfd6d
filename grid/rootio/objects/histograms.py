"""Histograms and profiles: contents, errors, entries and sums add up where the axes are the same."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any, Final

from grid.rootio.objects.adding import added, squares_of, sums_of
from grid.rootio.objects.anatomy import ARRAYS, Anatomy, Part, array, counted, number, numbers
from sitecfg.errors import UnsupportedContent

if TYPE_CHECKING:
    from grid.rootio.format.nodes import Node
    from grid.rootio.objects.stored import Stored

__all__ = ["AXES", "axis", "histogram", "is_histogram", "why_alone"]

_CLASSES: Final = re.compile(r"TH[123][CSIFDL]|TProfile[23]?D?")
#: What must be the same for bins to mean the same.
_SETTINGS: Final = (
    "fNcells",
    "fBinStatErrOpt",
    "fStatOverflows",
    "fErrorMode",
    "fYmin",
    "fYmax",
    "fZmin",
    "fZmax",
    "fTmin",
    "fTmax",
)
AXES: Final = ("fXaxis", "fYaxis", "fZaxis")
_AXIS: Final = ("fNbins", "fXmin", "fXmax")
#: The bit that says: bins hold averages.
_AVERAGE: Final = 1 << 18


def is_histogram(class_name: str) -> bool:
    """Return whether objects of a class are added up as histograms."""
    return _CLASSES.fullmatch(class_name) is not None


def histogram(stored: Stored, node: Node, path: str, anatomy: Anatomy) -> None:
    """Add what a histogram consists of to an anatomy, under names that begin with `path`.

    Raises
    ------
    UnsupportedContent
        If it is not described as histograms are.
    """
    plain = numbers(node)
    base = next((name for name in ARRAYS if name in node.marks), None)
    if (
        base is None
        or not {"fEntries", "fNcells", "fTsumw"} <= plain.keys()
        or not {*AXES} <= node.inner.keys()
    ):
        raise UnsupportedContent(
            f"its {node.class_name} is described in a way that is not known here", where=stored.where
        )
    for name, place in plain.items():
        if name == "fEntries" or name.startswith("fTsum"):
            values = number(stored, place)
            combine = added if name == "fEntries" else sums_of(path)
            anatomy.parts[path + name] = Part(place[0], place[0] + values.itemsize, values, "", combine)
    contents = path + "contents"
    begin, end, values = array(stored, node, base, ARRAYS[base])
    anatomy.parts[contents] = Part(begin, end, values, "count", added)
    of_profile = "fBinEntries" in node.inner
    unweighted = {"fBinSumw2": path + "fBinEntries"} if of_profile else {"fSumw2": contents}
    for name in ("fSumw2", "fBinEntries", "fBinSumw2"):
        if name in node.inner:
            begin, end, values = array(stored, node, name, "f8")
            combine = squares_of(unweighted[name]) if name in unweighted else added
            anatomy.parts[path + name] = Part(begin, end, values, "count", combine)
    for name in _SETTINGS:
        if name in plain:
            anatomy.same[path + name] = number(stored, plain[name])[0]
    for name in AXES:
        anatomy.same.update(
            {f"{path}{name}.{key}": value for key, value in axis(stored, node.inner[name]).items()}
        )
    anatomy.alone = anatomy.alone or why_alone(stored, node, plain)


def axis(stored: Stored, node: Node) -> dict[str, Any]:
    """Return what of an axis must be the same for bins to mean the same."""
    plain = numbers(node)
    found: dict[str, Any] = {name: number(stored, plain[name])[0] for name in _AXIS if name in plain}
    found["fXbins"] = tuple(array(stored, node, "fXbins", "f8")[2].tolist())
    assert stored.walk is not None
    labels = stored.walk.nodes.get(node.marks.get("fLabels", (-1, 0))[0])
    found["fLabels"] = (
        ()
        if labels is None or labels.parent is None
        else tuple(
            (_number_of(stored, label), label.texts.get("fString", b"").decode("utf-8", "backslashreplace"))
            for label in stored.children(labels)
        )
    )
    return found


def _number_of(stored: Stored, node: Node) -> int:
    """Return the number that a TObject has: for a label that of its bin."""
    at, _ = node.marks.get("TObject", (-1, 0))
    return int(struct.unpack_from(">I", stored.data, at + 2)[0]) if at >= 0 else 0


def why_alone(stored: Stored, node: Node, plain: dict[str, tuple[int, str]]) -> str:
    """Return why a histogram can't be added to another, "" if it can."""
    at, _ = node.marks["TObject"]
    (bits,) = struct.unpack_from(">I", stored.data, at + 6)
    if bits & _AVERAGE:
        return "its bins hold averages (kIsAverage), which don't add up"
    if "fBufferSize" in plain and "fBuffer" in node.marks:
        size = int(number(stored, plain["fBufferSize"])[0])
        _, _, values = counted(stored, node, "fBuffer", size)
        if len(values) and values[0] != 0:
            return "it holds entries that were never put into bins (fBuffer); call BufferEmpty before it is written"
    return ""
