"""An input of a merge: its trees, streamer info and record, read from its bytes by nothing but our own code."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from grid.rootio.format.described import Streamers, read_streamers
from grid.rootio.format.unpack import unpack
from grid.rootio.image import Image
from grid.rootio.record import RECORD_CLASS, RECORD_KEY, read_record
from grid.rootio.structure import read_skeleton

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from grid.rootio.format.keys import Key
    from grid.rootio.structure import Entry

__all__ = ["Input"]

_TREES = frozenset({"TTree", "TNtuple", "TNtupleD"})
_NTUPLES = frozenset({"ROOT::RNTuple", "ROOT::Experimental::RNTuple"})


class Input:
    """A file that is merged. Use as a context manager.

    Raises
    ------
    InputError
        Of the kind that fits, if it is not what it should be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with ExitStack() as stack:
            self.image = stack.enter_context(Image(path))
            self.skeleton = read_skeleton(self.image)
            newest = self.skeleton.newest()
            self._opened = stack.pop_all()
        self.trees = {name: entry for name, entry in newest.items() if entry.class_name in _TREES}
        self.ntuples = {name: entry for name, entry in newest.items() if entry.class_name in _NTUPLES}
        #: What is neither tree nor directory nor our own record: path and class.
        self.others = tuple(
            (name, entry.class_name)
            for name, entry in newest.items()
            if name not in self.trees
            and not entry.class_name.startswith("TDirectory")
            and (name, entry.class_name) != (RECORD_KEY, RECORD_CLASS)
        )
        #: What of these is put together by the rule for its class.
        self.objects = {name: newest[name] for name, kind in self.others if kind not in _NTUPLES}
        self.directories = tuple(
            name for name, entry in newest.items() if entry.class_name.startswith("TDirectory")
        )
        self._record = newest.get(RECORD_KEY)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; calling it again does nothing."""
        self._opened.close()

    @cached_property
    def streamers(self) -> Streamers:
        """What the file says of its classes."""
        seek = self.skeleton.header.seek_info
        if not seek:
            return Streamers()
        key = self.image.key(seek, "the streamer info")
        return read_streamers(self._unpacked(key, "the streamer info"), key.length, str(self.path))

    @cached_property
    def record(self) -> dict[str, Any]:
        """What our own writer said of it; empty for files of others."""
        if self._record is None or self._record.class_name != RECORD_CLASS:
            return {}
        return read_record(self.image, self._record.key)

    def unpacked(self, entry: Entry) -> bytes:
        """Return the bytes of an object."""
        return self._unpacked(entry.key, entry.path)

    def _unpacked(self, key: Key, what: str) -> bytes:
        payload = self.image.read(key.seek + key.length, key.packed_bytes, what)
        return unpack(payload, key.object_bytes, self.image.where(what))
