"""Read a TTree: its branches as ours, basket by basket."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.baskets import Layout, layout_of, leaf_list, packed_numbers
from grid.rootio.columns import Branch
from grid.rootio.readers import BranchReader, TreeReader
from grid.rootio.truncated import Packing, packing_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from grid.rootio.source import TreeInfo

__all__ = ["open_ttree"]

#: Parts of a tree beside its branches that a plain tree would lose.
_PARTS = {
    "fAliases": "aliases",
    "fFriends": "friends",
    "fUserInfo": "user information",
    "fTreeIndex": "an index",
    "fBranchRef": "a table of references",
}
#: What ROOT calls the branches of a split TClonesArray and of a split STL collection: they hold its length.
_COUNTING = (3, 4)
#: And those of the members of the objects in them.
_MEMBERS = (31, 41)
#: And the bits of objects: where others refer to one, the number of a process follows.
_BITS = 15


def open_ttree(
    file: Any,
    key: str,
    path: str,
    kind: str,
    reopen: Callable[[], Any],
    foreign: Callable[[], dict[str, str]],
) -> tuple[TreeInfo, TreeReader]:
    """Describe a tree and make the readers of its branches; only the tree's header is read.

    `reopen` opens the file again so that only the branches of a tree are read, not what lies beside them;
    `foreign` then tells which branches keep their baskets in which other file.
    """
    from grid.rootio.source import TreeInfo

    header, parts = _read_header(file, key, reopen)
    weight = header.member("fWeight")
    if weight != 1:
        parts.append(("<Weight>", f"the weight of a tree can't be carried: {weight:g}"))
    told = all(branch.has_member("fFileName") for branch in header.branches)
    references = "TProcessID" in file.classnames(recursive=False).values()
    found = _Branches(header, {} if told else foreign(), references=references)
    for branch in header.itervalues(recursive=True):
        found.add(branch)
    found.check_counters()
    found.reader.compression_codes = [int(branch.member("fCompress")) for branch in header.branches]
    info = TreeInfo(
        path,
        "TTree",
        found.entries,
        str(header.title),
        found.reader.branches,
        (*found.refused.items(), *parts),
        _notes(found.reader.branches, path, kind),
    )
    return info, found.reader


def _notes(branches: Sequence[Branch], path: str, kind: str) -> tuple[str, ...]:
    notes: tuple[str, ...] = (f"the {kind} {path} is written as a TTree",) if kind != "TTree" else ()
    if packed := [branch.name for branch in branches if branch.typename in {"Double32_t", "Float16_t"}]:
        notes += (
            f"{path}: packed numbers are written as double and float: {', '.join(packed[:5])}"
            + (f" and {len(packed) - 5} more" if len(packed) > 5 else ""),
        )
    return notes


def _read_header(file: Any, key: str, reopen: Callable[[], Any]) -> tuple[Any, list[tuple[str, str]]]:
    """Read the tree object, and what it holds beside its branches."""
    from uproot.deserialization import DeserializationError

    try:
        header = file[key]
    except DeserializationError:
        # objects of foreign classes in the user information are the usual reason
        return reopen()[key], [("<UserInfo>", "its friends, index and user information can't be read")]
    parts = []
    for member, text in _PARTS.items():
        part = header.member(member, none_if_missing=True)
        # a table of references is a branch, whose length would be that of the branches below it
        if part is not None and (member == "fBranchRef" or not hasattr(part, "__len__") or len(part)):
            parts.append((f"<{member[1:]}>", f"{text} of a tree can't be carried"))
    return header, parts


class _Branches:
    """Takes the branches of a tree one by one, and notes those that can't be taken."""

    def __init__(self, header: Any, foreign: dict[str, str], *, references: bool) -> None:
        self.foreign, self.references = foreign, references
        self.reader = TreeReader()
        self.refused: dict[str, str] = {}
        self.entries = int(header.num_entries)
        #: The name of the branch of each leaf that may count others.
        self.counters = {
            id(leaf): _name(branch)
            for branch in header.itervalues(recursive=True)
            for leaf in branch.member("fLeaves")
        }

    def add(self, branch: Any) -> None:
        name, element = _name(branch), branch.member("fType", none_if_missing=True)
        if len(branch.branches):
            kind = branch.typename.split("(", maxsplit=1)[0].strip() or "a base class"
            self.refused[f"<{name}>"] = f"a split object ({kind}): only its members can be carried"
            if element in _COUNTING:
                self._take(branch, name, _int32(), None)
            return
        found = _layout(branch)
        if not isinstance(found, str) and found.jagged != 1 and element in _MEMBERS:
            found = "members of a collection that are no plain numbers can't be carried"
        if self.references and branch.member("fStreamerType", none_if_missing=True) == _BITS:
            found = "bits of objects that others refer to are no plain numbers"
        if isinstance(found, str):
            self.refused[name] = found
            return
        leaves = branch.member("fLeaves")
        counting = leaves[0].member("fLeafCount", none_if_missing=True) if len(leaves) == 1 else None
        self._take(branch, name, found, None if counting is None else self.counters.get(id(counting)))

    def _take(self, branch: Any, name: str, layout: Layout, counter: str | None) -> None:
        edges = np.asarray(branch.entry_offsets, dtype=np.int64)
        foreign = str(branch.member("fFileName", none_if_missing=True) or self.foreign.get(branch.name, ""))
        if foreign and np.any(np.asarray(branch.member("fBasketSeek")) > 0):
            self.refused[name] = f"its baskets lie in another file: {foreign}"
        elif name in self.reader.readers:
            self.refused[f"<{name}>"] = "another branch has this name too"
        elif edges[-1] != self.entries or (np.diff(edges) < 0).any():
            self.refused[name] = f"it has {edges[-1]} entries in a tree of {self.entries}"
        else:
            ours = Branch(
                name,
                str(branch.title),
                layout.dtype,
                layout.shape,
                layout.jagged,
                counter,
                layout.text,
                _typename(branch),
            )
            decode = partial(layout.decode, branch)
            self.reader.readers[name] = BranchReader(ours, decode, edges, _unpacked(branch, len(edges) - 1))

    def check_counters(self) -> None:
        """Refuse arrays whose counting branch can't be carried as plain integers."""
        branches = {branch.name: branch for branch in self.reader.branches}
        for name, branch in branches.items():
            if branch.counter is None:
                continue
            counter = branches.get(branch.counter)
            if counter is None or counter.dtype.kind not in "iu" or counter.levels or counter.shape:
                self.refused[name] = f"the branch that counts it can't be carried: {branch.counter}"
                del self.reader.readers[name]


def _unpacked(branch: Any, baskets: int) -> NDArray[np.float64]:
    """Estimate the unpacked bytes of each basket: its packed bytes times the branch's mean ratio."""
    packed = np.asarray(branch.member("fBasketBytes"), dtype=np.float64)[:baskets]
    packed = np.pad(packed, (0, baskets - len(packed)))
    total = packed.sum()
    return packed * (float(branch.uncompressed_bytes) / total) if total > 0 else packed


def _layout(branch: Any) -> Layout | str:
    """Return what the values of a branch without branches below look like, or why it can't be carried."""
    from uproot.interpretation.identify import UnknownInterpretation

    leaves = branch.member("fLeaves")
    if len(leaves) > 1 and branch.streamer is None:
        return leaf_list(leaves)
    packing = packing_of(branch)
    if isinstance(packing, str):
        return packing
    if packing is not None and branch.streamer is None:
        leaf = leaves[0]
        texts = re.findall(r"\[([^\],]*)\]", str(leaf.member("fTitle")).partition("/")[0])
        jagged = leaf.member("fLeafCount", none_if_missing=True) is not None
        return packed_numbers(packing, tuple(int(text) for text in texts[jagged:]), jagged=jagged)
    try:
        interpretation = branch.interpretation
        found = layout_of(interpretation)
        if packing is not None and not packing.simple:
            if type(interpretation).__name__ not in {"AsDouble32", "AsFloat16", "AsDtype"}:
                return f"{branch.typename}: packed numbers in a collection can't be carried"
            return packed_numbers(packing, tuple(interpretation.to_dtype.shape), jagged=False)
    except (UnknownInterpretation, NameError, NotImplementedError) as error:
        # uproot fails on some titles with an unbound variable
        return f"uproot has no rule to read it: {type(error).__name__}"
    return f"{branch.typename}: {found}" if isinstance(found, str) else found


def _int32() -> Layout:
    from uproot.interpretation.numerical import AsDtype

    layout = layout_of(AsDtype(">i4"))
    assert isinstance(layout, Layout)
    return layout


def _typename(branch: Any) -> str:
    packing = packing_of(branch)
    if isinstance(packing, Packing):
        return "Double32_t" if packing.dtype == np.float64 else "Float16_t"
    return _plain(str(branch.typename))


def _name(branch: Any) -> str:
    """Return a branch's name without the dimensions that members of split objects carry in it."""
    return _plain(branch.name) if branch.streamer is not None else str(branch.name)


def _plain(text: str) -> str:
    return re.sub(r"(\[[^\]]*\])+$", "", text)
