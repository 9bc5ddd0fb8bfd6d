"""One tree for inputs that differ in branches, and how the tree of each input fits into it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.backfill import unite
from grid.rootio.format.blocks import Compression
from grid.rootio.format.described import Streamers, read_streamers
from grid.rootio.format.leaves import describe
from grid.rootio.format.objects import ObjectWriter, text, tobject, versioned
from grid.rootio.format.streamers import streamer_list
from grid.rootio.format.ttree import BranchBooks, TreeBooks, branch, leaves
from grid.rootio.gather.pieces import pieces_of
from grid.rootio.uniting.description import Description
from grid.rootio.uniting.filling import Filling, Task
from grid.rootio.uniting.transcript import Transcript
from grid.rootio.verbatim.baskets import Baskets, baskets_of
from grid.rootio.verbatim.slots import Said
from grid.rootio.verbatim.template import Differs
from sitecfg.errors import CorruptFile, SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from grid.rootio.columns import Branch
    from grid.rootio.uniting.description import Top
    from grid.rootio.uniting.transcript import Replaced
    from grid.rootio.verbatim.slots import Slot, TreeView
    from grid.rootio.verbatim.template import Template

__all__ = ["UnitedTree"]

_NO_BASKETS = versioned(3, tobject() + text("") + bytes(8))


@dataclass(slots=True)
class _Fit:
    """How trees of one description fit into the output's.

    Attributes
    ----------
    branches
        For each of its branches the number in the output, int64.
    limits
        For each slot of limits in the output that of the same meaning, by number.
    tasks
        What is not copied as it is.
    """

    template: Template
    branches: NDArray[np.int64]
    limits: dict[int, Slot] = field(default_factory=dict)
    tasks: list[Task] = field(default_factory=list)


class UnitedTree:
    """A tree with the branches of all inputs, in the order in which they are first met.

    Parameters
    ----------
    descriptions
        All that inputs have, in the order of these.

    Raises
    ------
    SchemaMismatch
        If no rule brings them together.
    UnsupportedContent
        If a branch that isn't plain differs, or is missing in some.
    """

    def __init__(self, descriptions: Sequence[Description]) -> None:
        for one in descriptions:
            one.understand()
        wanted = unite(
            (one.where, [top.plain for top in one.tops.values() if top.plain is not None])
            for one in descriptions
        )
        self._wanted = {branch.name: branch for branch in wanted}
        self._counting = {branch.counter for branch in wanted if branch.counter is not None}
        _same_others(descriptions, self._wanted)
        classes = {info.key: info for one in reversed(descriptions) for info in one.classes}
        for info in read_streamers(streamer_list(0, Streamers()), 0, "").classes:
            classes.setdefault(info.key, info)
        first = descriptions[0]
        data = self._written(descriptions)
        self._own = Description(data, 0, first.class_name, classes.values(), first.where)
        self._own.understand()
        self._fits = [self._fit(one) for one in descriptions]

    @property
    def template(self) -> Template:
        """Its description."""
        return self._own.template

    @property
    def plain(self) -> list[Branch]:
        """Its plain branches; the others are the same in all inputs."""
        return [top.plain for top in self._own.tops.values() if top.plain is not None]

    def fit(self, data: bytes, key_length: int, where: str) -> tuple[Said, Baskets, Filling]:
        """Understand the tree of an input; see :class:`grid.rootio.verbatim.fitting.United`."""
        for fit in self._fits:
            try:
                view = fit.template.match(data, key_length)
            except Differs:
                continue
            return self._fitted(fit, view, where)
        raise SchemaMismatch("its tree is none of those that the output was made for", where=where)

    def _fitted(self, fit: _Fit, view: TreeView, where: str) -> tuple[Said, Baskets, Filling]:
        found = baskets_of(view, where)
        tree = view.numbers(fit.template.tree)
        if not tree.keys() >= {name for slot in self.template.tree for name in slot.names}:
            raise UnsupportedContent("its tree says less of itself than that of the first input", where=where)
        if tree["fEntries"] and not (len(found.seeks) or found.embedded):
            raise CorruptFile(
                f"it says that it has {tree['fEntries']} entries, and has no basket", where=where
            )
        numbers = {name: column.copy() for name, column in self._own.said.items()}
        numbers["fEntries"][:] = tree["fEntries"]
        for name in {"fTotBytes", "fZipBytes"} & numbers.keys():
            numbers[name][:] = 0
        for name in numbers.keys() & found.numbers.keys():
            numbers[name][fit.branches] = found.numbers[name]
        pieces = pieces_of(view, found, where)
        unpacked = [task.source for task in fit.tasks if task.packs and task.source is not None]
        for number in unpacked:
            for name in ("fTotBytes", "fZipBytes"):
                numbers[name][fit.branches[number]] = 0
        stay = ~np.isin(found.branches, unpacked)
        kept = Baskets(
            found.seeks[stay],
            found.nbytes[stay],
            found.firsts[stay],
            found.entries[stay],
            fit.branches[found.branches[stay]].astype(np.int32),
            numbers,
            [
                replace(one, branch=int(fit.branches[one.branch]))
                for one in found.embedded
                if one.branch not in unpacked
            ],
        )
        said = Said(tree, view.clusters(), self._limits(fit, view), view.index(where), None)
        entries, raiser = int(tree["fEntries"]), self._raiser(said)
        return said, kept, Filling(fit.tasks, pieces, numbers, entries, where, self._counting, raiser)

    def _limits(self, fit: _Fit, view: TreeView) -> list[NDArray[Any]]:
        """Return what a tree says of limits, in the order of the output's groups; 0 where it says nothing."""
        answer = []
        for group in self.template.limits:
            limits = np.zeros(len(group.slots), group.dtype)
            for row, slot in enumerate(group.slots):
                if (other := fit.limits.get(slot.number)) is not None:
                    for name, value in view.numbers([other]).items():
                        if name in (group.dtype.names or ()):
                            limits[name][row] = _within(value, group.dtype[name])
            answer.append(limits)
        return answer

    def _raiser(self, said: Said) -> Callable[[str, int], None]:
        """Return what is told the largest value of a branch that counts others: readers size what they hold by it."""
        places = {
            slot.number: (group, row)
            for group, of in enumerate(self.template.limits)
            for row, slot in enumerate(of.slots)
        }

        def tell(name: str, largest: int) -> None:
            group, row = places[self._own.tops[name].limits[0].number]
            limits = said.limits[group]["fMaximum"]
            limits[row] = max(limits[row], _within(largest, limits.dtype))

        return tell

    # How the description is made.

    def _written(self, descriptions: Sequence[Description]) -> bytes:
        """Write the first input's description with the branches of all."""
        out = ObjectWriter(0)
        origin = {top.name: (one, top) for one in reversed(descriptions) for top in one.tops.values()}
        names = list(dict.fromkeys(top.name for one in descriptions for top in one.tops.values()))
        books = {
            leaf.branch.name: BranchBooks(leaf, leaf.branch.name in self._counting)
            for leaf in describe(list(self._wanted.values()), descriptions[0].where)
        }
        transcripts = {id(one): partial(_transcript, one, out) for one in descriptions}
        branches: list[Callable[[], None]] = []
        ends: list[Callable[[], None]] = []
        for name in names:
            one, top = origin[name]
            if name in books:
                size, word = (int(one.said[what][top.numbers[0]]) for what in ("fBasketSize", "fCompress"))
                tree = TreeBooks("", "", size, [])
                branches.append(partial(branch, out, books[name], tree, Compression.of_word(word), books))
                ends += leaves(out, books[name], books)
            else:
                script = transcripts[id(one)](top)
                branches.append(partial(script.object, top.at))
                ends += [partial(script.object, leaf) for leaf in top.leaves]
        first = descriptions[0]
        (begin, end), (leaves_begin, leaves_end) = first.lists
        replaced: dict[int, Replaced] = {
            begin: (end, partial(out.array_of, branches)),
            leaves_begin: (leaves_end, partial(out.array_of, ends)),
        }
        if (index := first.template.index) is not None:
            replaced[index.begin] = (index.end, out.null)
        size = len(first.places.walk.data)
        Transcript(first.places, out, replaced, (leaves_end, size)).copy(0, size)
        return bytes(out.data)

    def _fit(self, one: Description) -> _Fit:
        branches = np.full(len(one.template.branches), -1, np.int64)
        fit = _Fit(one.template, branches)
        for name, own in self._own.tops.items():
            top, wanted = one.tops.get(name), self._wanted.get(name)
            if top is not None:
                branches[top.numbers] = own.numbers
                fit.limits.update(zip((slot.number for slot in own.limits), top.limits, strict=True))
            mine = None if top is None else top.plain
            if wanted is not None and (mine is None or not wanted.same_type(mine)):
                source = None if top is None else top.numbers[0]
                fit.tasks.append(Task(own.numbers[0], wanted, source, mine))
        present = {task.wanted.name for task in fit.tasks}
        counting = {task.wanted.counter for task in fit.tasks}
        fit.tasks += [
            # what stays as it is may count what does not
            Task(self._own.tops[name].numbers[0], wanted, one.tops[name].numbers[0], one.tops[name].plain)
            for name, wanted in self._wanted.items()
            if name in counting and name not in present
        ]
        return fit


def _transcript(one: Description, out: ObjectWriter, top: Top) -> Transcript:
    def empty() -> None:
        out.data += _NO_BASKETS

    replaced = {
        branch.embedded.begin: (branch.embedded.end, empty)
        for branch in (one.template.branches[number] for number in top.numbers)
    }
    return Transcript(one.places, out, replaced, (top.at, one.places.walk.nodes[top.at].end))


def _same_others(descriptions: Sequence[Description], wanted: dict[str, Branch]) -> None:
    """Check that branches that aren't plain are in all inputs, and the same in all."""
    first = descriptions[0]
    others = {name: first.other(top) for name, top in first.tops.items() if top.plain is None}
    for one in descriptions:
        mine = {name: one.other(top) for name, top in one.tops.items() if top.plain is None}
        if mine != others or mine.keys() & wanted.keys():
            raise UnsupportedContent("branches that are no plain numbers differ", where=one.where)
        if (one.class_name, one.behind) != (first.class_name, first.behind):
            raise UnsupportedContent("it has other aliases, friends or user information", where=one.where)


def _within(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return the nearest value that a type can say."""
    if dtype.kind not in "iu":
        return value
    limits = np.iinfo(dtype)
    return min(max(int(value), int(limits.min)), int(limits.max))
