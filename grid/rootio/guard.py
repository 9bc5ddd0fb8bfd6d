"""Call the user's function on a chunk of events, and hold it to the rules.

The function gets an awkward array of events and returns those to keep. It may drop events, and add,
remove and change columns. It may not repeat, invent, re-key or reorder events, and what it returns
has one schema from the first chunk to the last.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from grid.rootio.awkwards import branch_of, column_of, record_of
from grid.rootio.format.leaves import describe
from sitecfg.errors import GridError, UserCodeError, said_by

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from grid.rootio.columns import Branch, Column
    from grid.rootio.events import Identity
    from grid.rootio.reading import EventChunk, EventReader

__all__ = ["Guard", "end_if_not"]

_NAMED = 5


class Guard:
    """Calls a user's function, chunk by chunk.

    Parameters
    ----------
    function
        ``f(events, conditions)``. With one event tree the events have its branches as fields; with
        several they have one field per tree, which has the branches.
    conditions
        Given to the function as it is.
    reader
        Where the events come from.
    """

    def __init__(
        self, function: Callable[[Any, Any], Any], conditions: Any, reader: EventReader, identity: Identity
    ) -> None:
        self._function = function
        self._conditions = conditions
        self._known = reader.branches
        self._identity = identity
        self._where = reader.source.url
        self._owner = os.getpid()
        #: The branches of the events that come out, by tree; known after the first call.
        self.branches: dict[str, tuple[Branch, ...]] = {}

    def __call__(self, chunk: EventChunk) -> tuple[NDArray[np.int64], dict[str, dict[str, Column]]]:
        """Return the entries (within the chunk) that were kept, ascending, and the columns of the kept events.

        Raises
        ------
        UserCodeError
            If the function raises, returns something else than events, or breaks a rule; the first
            offenders are named.
        """
        shown = {
            path: {branch.name: chunk.trees[path][branch.name] for branch in branches}
            for path, branches in self._known.items()
        }
        answer = self._call(record_of(shown, self._known, len(chunk)), chunk)
        try:
            return self._taken(answer, chunk)
        except GridError:
            raise
        except Exception as error:  # an answer may be of any kind, and broken in any way
            raise UserCodeError(
                f"what it returned can't be used: {type(error).__name__}: {said_by(error)}",
                where=self._at(chunk),
            ) from error

    def _taken(
        self, answer: Any, chunk: EventChunk
    ) -> tuple[NDArray[np.int64], dict[str, dict[str, Column]]]:
        """Take an answer apart and hold it to the rules."""
        arrays = self._fields(answer, chunk)
        if not self.branches:
            self.branches = {path: self._schema(arrays[path], path) for path in self._known}
        columns = {path: self._columns(arrays[path], path, chunk) for path in self._known}
        return self._kept(chunk, columns), columns

    def _call(self, events: Any, chunk: EventChunk) -> Any:
        try:
            return self._function(events, self._conditions)
        except BaseException as error:
            raise UserCodeError(
                f"it raised {type(error).__name__}: {said_by(error)}",
                where=self._at(chunk),
                todo="see the traceback in the log",
            ) from error
        finally:
            end_if_not(self._owner)

    def _fields(self, answer: Any, chunk: EventChunk) -> dict[str, dict[str, Any]]:
        """Take the answer apart into the arrays of each tree."""
        import awkward as ak

        if not isinstance(answer, ak.Array) or not ak.fields(answer):
            kind = ak.type(answer) if isinstance(answer, ak.Array) else type(answer).__name__
            raise UserCodeError(
                f"it must return an awkward array of events, not {kind}", where=self._at(chunk)
            )
        if len(self._known) == 1:
            parts = {next(iter(self._known)): answer}
        else:
            missing = [path for path in self._known if path not in ak.fields(answer)]
            if missing:
                raise UserCodeError(f"it left out the tree {', '.join(missing)}", where=self._at(chunk))
            parts = {path: answer[path] for path in self._known}
        return {path: {name: part[name] for name in ak.fields(part)} for path, part in parts.items()}

    def _schema(self, arrays: Mapping[str, Any], path: str) -> tuple[Branch, ...]:
        """Fix the branches of a tree by what the first answer holds."""
        known = {branch.name: branch for branch in self._known[path]}
        try:
            branches = tuple(branch_of(name, array, known, arrays) for name, array in arrays.items())
            for branch in branches:
                branch.name.encode()
            describe(branches, path)
        except (TypeError, ValueError) as error:
            said = error.what if isinstance(error, GridError) else said_by(error)
            raise UserCodeError(
                f"a column can't be written: {said}", where=f"{self._where}: {path}"
            ) from error
        return branches

    def _columns(self, arrays: Mapping[str, Any], path: str, chunk: EventChunk) -> dict[str, Column]:
        branches = self.branches[path]
        names = {branch.name for branch in branches}
        if changed := sorted(names ^ set(arrays)):
            raise UserCodeError(
                f"it changed the columns between chunks: {', '.join(changed[:_NAMED])}", where=self._at(chunk)
            )
        columns = {}
        for branch in branches:
            try:
                columns[branch.name] = _sound(column_of(arrays[branch.name], branch))
            except (TypeError, ValueError) as error:
                raise UserCodeError(f"a column can't be used: {error}", where=self._at(chunk)) from error
        self._follow_counters(columns, path, chunk)
        return columns

    def _follow_counters(self, columns: dict[str, Column], path: str, chunk: EventChunk) -> None:
        """Make counting branches agree with the arrays they count; arrays that share one must agree."""
        for branch in self.branches[path]:
            if branch.counter is None:
                continue
            counter = columns[branch.counter]
            counts = columns[branch.name].counts
            if (counter.values != counts).any():
                columns[branch.counter] = type(counter)(counts.astype(counter.values.dtype))
        for branch in self.branches[path]:
            if (
                branch.counter is not None
                and (columns[branch.counter].values != columns[branch.name].counts).any()
            ):
                raise UserCodeError(
                    f"{branch.name} has not as many values as the other arrays that {branch.counter} counts",
                    where=self._at(chunk),
                    todo="cut all arrays of a collection together",
                )

    def _kept(self, chunk: EventChunk, columns: Mapping[str, Mapping[str, Column]]) -> NDArray[np.int64]:
        """Find the returned events among the given ones, exactly."""
        names, mine = self._identity.names, columns[self._identity.tree]
        if missing := [
            name
            for name in names
            if name not in mine or mine[name].offsets or mine[name].values.dtype.kind not in "iu"
        ]:
            raise UserCodeError(
                f"it left out {', '.join(missing)}, which identify the events", where=self._at(chunk)
            )
        lengths = {len(column) for part in columns.values() for column in part.values()}
        if len(lengths) != 1:
            raise UserCodeError(
                f"its columns have different lengths: {sorted(lengths)}", where=self._at(chunk)
            )
        given = [chunk.trees[self._identity.tree][name].values for name in names]
        back = [mine[name].values for name in names]
        place, given_before = _match(given, back)
        self._refuse("invented or re-keyed", np.flatnonzero(~given_before), back, chunk)
        self._refuse("repeated", np.flatnonzero(place < 0), back, chunk)
        self._refuse("reordered", np.flatnonzero(np.diff(place) < 0) + 1, back, chunk)
        return place

    def _refuse(
        self, what: str, offenders: NDArray[np.int64], back: list[NDArray[Any]], chunk: EventChunk
    ) -> None:
        if not len(offenders):
            return
        names = self._identity.names
        named = [
            dict(zip(names, (int(column[i]) for column in back), strict=True)) for i in offenders[:_NAMED]
        ]
        words = "; ".join(", ".join(f"{name} {value}" for name, value in event.items()) for event in named)
        raise UserCodeError(
            f"it {what} {len(offenders)} events, first: {words}",
            where=self._at(chunk),
            todo="return a selection of the events that were given, in their order",
            offenders=named,
        )

    def _at(self, chunk: EventChunk) -> str:
        return f"{self._where}: entries {chunk.start} to {chunk.stop}"


def _sound(column: Column) -> Column:
    """Refuse lists that overlap or lie outside of their values, as an array made by hand can have them."""
    for offsets in column.offsets:
        if (np.diff(offsets) < 0).any():
            raise ValueError("its lists overlap")
    return column


def end_if_not(owner: int) -> None:
    """End this process at once if it is another: a fork that comes back from the user's code must not go on in ours.

    It shares the outputs with its parent, and would write them a second time.
    """
    if os.getpid() != owner:
        with contextlib.suppress(OSError):
            os.write(2, b"a process that the user's code forked came back from it, and ends here\n")
        os._exit(1)


def _match(
    given: list[NDArray[Any]], back: list[NDArray[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return for each returned event its entry among the given ones, or -1, and whether its identity was given.

    Events that share an identity are matched in order, as often as they are there.
    """
    n = len(given[0])
    both = np.column_stack(
        [np.concatenate([old, new]).astype(np.int64) for old, new in zip(given, back, strict=True)]
    )
    _, group = np.unique(both, axis=0, return_inverse=True)
    group = group.reshape(-1).astype(np.int64)
    code = group * (len(group) + 1)
    code[:n] += _occurrence(group[:n])
    code[n:] += _occurrence(group[n:])
    order = np.argsort(code[:n], kind="stable")
    at = np.searchsorted(code[:n], code[n:], sorter=order)
    place = np.full(len(code) - n, -1, np.int64)
    inside = at < n
    candidate = order[at[inside]]
    place[inside] = np.where(code[candidate] == code[n:][inside], candidate, -1)
    return place, np.isin(group[n:], group[:n])


def _occurrence(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of earlier members of the same group."""
    order = np.argsort(group, kind="stable")
    ranked = group[order]
    first = np.flatnonzero(np.diff(ranked, prepend=ranked[:1] - 1))
    start = np.repeat(first, np.diff(first, append=len(ranked)))
    answer = np.empty_like(group)
    answer[order] = np.arange(len(group)) - start
    return answer
