"""All objects of an output that are no trees."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grid.rootio.format.described import Streamers
from grid.rootio.format.plans import Plans
from grid.rootio.objects.merged import Merged
from grid.rootio.objects.origins import ORIGINS, Origins
from grid.rootio.objects.stored import Stored
from grid.rootio.record import RECORD_KEY
from grid.rootio.verbatim.inputs import Input
from sitecfg.errors import ClosureError, InputError, SchemaMismatch, UnsupportedContent

if TYPE_CHECKING:
    from pathlib import Path

    from grid.rootio.format.keys import Key
    from grid.rootio.sink import Sink

__all__ = ["Objects"]


class Objects:
    """Puts the objects of inputs together, in the order in which they are first met.

    Parameters
    ----------
    drop
        Whether objects that can't be put together are left out, instead of refused.
    everything
        Whether the objects of one original file are added as often as inputs have them.

    Attributes
    ----------
    dropped
        Why objects were left out, by path.
    """

    def __init__(self, *, drop: bool, everything: bool = False) -> None:
        self._drop, self._everything = drop, everything
        self._objects: dict[str, Merged] = {}
        self._titles: dict[str, str] = {}
        #: Which input first has a tree or directory of this path.
        self._taken: dict[str, tuple[str, str]] = {}
        self._streamers = Streamers()
        self._origins = Origins()
        self._inputs = 0
        self.dropped: dict[str, str] = {}
        self._notes: list[str] = []

    def add(self, source: Input, own: str = "") -> None:
        """Add what an input holds.

        Parameters
        ----------
        source
            The input.
        own
            The original file of objects of which the input's record doesn't say it.

        Raises
        ------
        SchemaMismatch, UnsupportedContent
            If an object can't be put together with those of the inputs before, and may not be left out.
        CorruptFile
            If its bytes contradict each other.
        """
        for kind, paths in (("tree", (*source.trees, *source.ntuples)), ("directory", source.directories)):
            for path in paths:
                self._take(path, kind, str(source.path))
        if not source.objects:
            return
        objects = _stored(source)
        if not self._everything and not self._origins.add(source, objects, own):
            self._notes.append(
                f"{source.path}: its objects are those of an earlier input, and were not added again"
            )
            return
        self._inputs += 1
        self._streamers = self._streamers.joined(source.streamers)
        for path, stored in objects.items():
            if path not in self.dropped:
                try:
                    self._add(path, stored, source.objects[path].key)
                except (SchemaMismatch, UnsupportedContent) as error:
                    self._refuse(path, error)

    def _take(self, path: str, kind: str, where: str) -> None:
        """Note a tree or directory."""
        before, other = self._taken.setdefault(path, (kind, where))
        if before != kind:
            raise SchemaMismatch(f"it is a {kind}, but a {before} in {other}", where=f"{where}: {path}")
        if path in self._objects:
            first = self._objects[path].first
            error = SchemaMismatch(
                f"it is a {kind}, but a {first.class_name} in {first.where}", where=f"{where}: {path}"
            )
            self._refuse(path, error)

    def _refuse(self, path: str, error: SchemaMismatch | UnsupportedContent) -> None:
        """Leave an object out, or raise what speaks against it."""
        if not self._drop:
            error.todo = error.todo or "leave it out (--drop-refused)"
            raise error
        self._objects.pop(path, None)
        self.dropped[path] = error.what

    def _add(self, path: str, stored: Stored, key: Key) -> None:
        if b"/" in key.name:
            raise UnsupportedContent(f"the name of this {stored.class_name} has a slash", where=stored.where)
        if path == RECORD_KEY:
            raise UnsupportedContent(
                "the record of a file has its name", where=f"{stored.where} ({stored.class_name})"
            )
        if path in self._taken:
            kind, other = self._taken[path]
            raise SchemaMismatch(f"it is a {stored.class_name}, but a {kind} in {other}", where=stored.where)
        if path in self._objects:
            self._objects[path].add(stored)
        else:
            self._objects[path] = Merged(stored)
            self._titles[path] = key.title.decode("utf-8", "surrogateescape")

    def put(self, sink: Sink) -> None:
        """Tell the output what to write: directories, objects, and the descriptions of their classes."""
        for path in self._directories:
            sink.directory(path)
        for path, merged in self._objects.items():
            made = sink.object(path, merged.first.class_name, self._titles[path])
            made.body = merged.body
        sink.streamers = sink.streamers.joined(self._streamers)

    @property
    def record(self) -> dict[str, Any]:
        """What the output's record says of them."""
        # where everything was added, nobody can say any more how often
        return {ORIGINS: list(self._origins.files) or [""]} if self._objects else {}

    @property
    def copied(self) -> list[str]:
        """What a person should know where all are copied, not added up."""
        some = _some([*self._objects])
        return [f"what is no tree is in every output as it is in the input: {some}"] if some else []

    @property
    def notes(self) -> list[str]:
        """What a person should know."""
        missing = [path for path, merged in self._objects.items() if merged.inputs < self._inputs]
        differing = [path for path, merged in self._objects.items() if merged.differs]
        return [
            *self._notes,
            *([f"not all inputs have these objects: {_some(missing)}"] if missing else []),
            *(
                [f"the first one's title, colours or functions were kept: {_some(differing)}"]
                if differing
                else []
            ),
        ]

    @property
    def _directories(self) -> list[str]:
        return [path for path, (kind, _) in self._taken.items() if kind == "directory"]

    def check(self, path: Path) -> None:
        """Read the objects of the finished output again and hold them against what was to be written.

        Raises
        ------
        ClosureError
            If they are not that.
        """
        try:
            with Input(path) as source:
                self._check(source)
        except InputError as error:
            raise ClosureError(f"what was written is not sound: {error}", where=str(path)) from error

    def _check(self, source: Input) -> None:
        if source.objects.keys() != self._objects.keys() or not {*self._directories} <= {*source.directories}:
            raise ClosureError("it has not the objects of the inputs", where=str(source.path))
        for path, again in _stored(source).items():
            merged = self._objects[path]
            if again.data != merged.body(again.key_length) or (again.walk is None) != (
                merged.first.walk is None
            ):
                raise ClosureError("it is not what the inputs add up to", where=again.where)


def _stored(source: Input) -> dict[str, Stored]:
    plans = Plans(source.streamers.classes)
    return {
        path: Stored(
            source.unpacked(entry), entry.key.length, entry.class_name, plans, source.image.where(path)
        )
        for path, entry in source.objects.items()
    }


def _some(paths: list[str]) -> str:
    more = f" and {len(paths) - 5} more" if len(paths) > 5 else ""
    return ", ".join(paths[:5]) + more
