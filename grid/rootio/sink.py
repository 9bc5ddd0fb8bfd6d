"""Write TTrees into a new ROOT file: deterministic bytes, bounded memory, any size.

::

    with Sink(path, compression="zstd:5", seed=b"recipe and input", record={"stream": "A"}) as sink:
        events = sink.tree("Events", branches, title="Events")
        events.extend({"run": column, ...})
    written = sink.written
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeAlias

from grid.rootio.checksums import Checksums, checksum_file
from grid.rootio.format.blocks import Compression, pack
from grid.rootio.format.described import Streamers
from grid.rootio.format.keys import BIG, Key, key_length
from grid.rootio.format.objects import text, tobject, versioned
from grid.rootio.format.records import BEGIN, DirectoryRecord, Header, free_list
from grid.rootio.format.streamers import streamer_list
from grid.rootio.format.ttree import tree_bytes
from grid.rootio.outfile import OutFile
from grid.rootio.record import RECORD_CLASS, RECORD_KEY
from grid.rootio.sinktree import SinkTree
from kernels.adler import hex8
from sitecfg.errors import ClosureError, UnsupportedContent, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path
    from types import TracebackType

    from grid.rootio.columns import Branch

__all__ = ["Sink", "SinkTree", "Written"]

#: 1995-01-01 00:00:00, where ROOT's calendar begins.
_NO_DATE = (1 << 22) | (1 << 17)
_LONGEST_KEY = 0x7FFF
#: What the file calls itself inside; its real name may change, its bytes may not.
_NAME = b"mdcgrid.root"


#: What was written: size, adler32 and XXH3-128.
Written: TypeAlias = Checksums


@dataclass(slots=True)
class _Directory:
    """A directory of the file: its hole and, so far, its keys."""

    path: str
    place: int
    key: Key
    parent: int
    keys: list[Key]


@dataclass(slots=True)
class SinkObject:
    """An object of the file; ``body`` makes its bytes for a key of a given length, ``before`` is called before that."""

    directory: _Directory
    names: tuple[bytes, bytes, bytes]
    body: Callable[[int], bytes | bytearray]
    before: Callable[[], None] | None = None

    @property
    def place(self) -> int:
        """Where its directory lies."""
        return self.directory.place


class Sink:
    """A new ROOT file. It is no ROOT file until :meth:`close` has written its header.

    The bytes follow from the arguments and the entries alone: no clock, no random number, and not
    the path. Leaving a ``with`` block closes the file, or removes it if an exception passes.

    Parameters
    ----------
    path
        The file to make; its folder must exist, the file must not.
    compression
        ``"zstd:5"``, ``"zlib:1"``, ``"lz4:4"``, ``"lzma:8"`` or ``"none"``; the level is the codec's own.
    seed
        What the file's UUID is derived from.
    date
        The time stamp (a packed TDatime) of all records, for instance the newest of the inputs;
        1995-01-01 if none.
    record
        A JSON object to keep under the key ``mdcgrid``; may be set as :attr:`record` until the end.
    threads
        How many baskets are packed at once.
    big_from
        The position from which keys and header are written with 8-byte positions.

    Raises
    ------
    OutputExists, NoSpace, OutputError
        If the file can't be made or written.
    ConfigError
        If there is no such compression.
    """

    def __init__(
        self,
        path: Path,
        *,
        compression: str = "zstd:5",
        seed: bytes = b"",
        date: int | None = None,
        record: dict[str, Any] | None = None,
        threads: int = 2,
        big_from: int = BIG,
    ) -> None:
        self.path = path
        self.record = record
        self.written: Written | None = None
        self._compression = Compression.parse(compression)
        self.seed, self._threads, self._big_from = seed, threads, big_from
        self._date = _NO_DATE if date is None else date
        self._objects: list[SinkObject] = []
        #: What else than our own classes the file's streamer info describes.
        self.streamers = Streamers()
        self._out = OutFile(path)
        names = text(_NAME) + text(b"")
        length = key_length(b"TFile", _NAME, b"", big=False)
        size = len(names) + DirectoryRecord.SIZE
        root_key = Key(length + size, size, self._date, length, 1, BEGIN, 0, b"TFile", _NAME, b"", big=False)
        self._out.reserve(BEGIN + root_key.nbytes)
        self._directories = {"": _Directory("", BEGIN, root_key, 0, [])}

    def tree(
        self,
        path: str,
        branches: Sequence[Branch],
        *,
        title: str = "",
        basket_bytes: int = 1 << 18,
        cluster_bytes: int = 16 << 20,
    ) -> SinkTree:
        """Begin a tree; `path` may name directories (``"dir/sub/Name"``), which are made.

        Parameters
        ----------
        path
            Its place in the file; each can be used once.
        branches
            The branches, in the order in which they are to be kept.
        title
            The tree's title.
        basket_bytes
            The unpacked size at which a branch's part of a cluster is cut into several baskets.
        cluster_bytes
            The unpacked size, over all branches, at which they are written; bounds the memory.

        Raises
        ------
        UnsupportedContent
            If a branch can't be written; it is named.
        UsageError
            If the name is taken or empty.
        """
        made = self._new(path, "TTree", title)
        name = path.strip("/").rpartition("/")[2]
        tree = SinkTree(
            self._out,
            made.place,
            name,
            branches,
            title=title,
            basket_bytes=basket_bytes,
            cluster_bytes=cluster_bytes,
            compression=self._compression,
            date=self._date,
            threads=self._threads,
        )
        made.before = tree.flush
        made.body = partial(tree_bytes, tree.books, self._compression)
        self._objects.append(made)
        return tree

    def object(self, path: str, class_name: str, title: str) -> SinkObject:
        """Begin an object whose bytes are told later (its ``body``); `path` may name directories, which are made.

        Raises
        ------
        UnsupportedContent, UsageError
            If the name is too long, taken or empty.
        """
        made = self._new(path, class_name, title)
        self._objects.append(made)
        return made

    def directory(self, path: str) -> None:
        """Make a directory, and those above it, if they aren't there; it may stay empty.

        Raises
        ------
        UsageError
            If something else has its name.
        """
        self._directory(path.strip("/"))

    def _new(self, path: str, class_name: str, title: str) -> SinkObject:
        where, _, name = path.strip("/").rpartition("/")
        directory = self._directory(where)
        names = (class_name.encode(), _encode(name), _encode(title))
        taken = {one.names[1] for one in self._objects if one.directory is directory}
        if not name or names[1] in taken or path.strip("/") in self._directories:
            raise UsageError(f"a tree can't be called {path!r}: the name is taken or empty")
        if path.strip("/") == RECORD_KEY:
            raise UnsupportedContent("no tree can have this name: the record of a file has it", where=path)
        if key_length(*names, big=True) > _LONGEST_KEY:
            raise UnsupportedContent("its name and title are too long for a key", where=name[:100])
        return SinkObject(directory, names, _untold)

    def key(
        self, names: tuple[bytes, bytes, bytes], place: int, packed: int, unpacked: int, parent: int
    ) -> bytes:
        """Return the key of a record at `place` that no directory lists; its length depends on the names alone."""
        length = key_length(*names, big=True)
        return Key(length + packed, unpacked, self._date, length, 1, place, parent, *names, big=True).encode()

    @property
    def out(self) -> OutFile:
        """The file itself, for what is copied into it as it is."""
        return self._out

    def close(self, read_back: Callable[[Path], Checksums] = checksum_file) -> Written:
        """Write what is pending, the trees, the lists of keys and, last, the header; make it durable.

        The file is then read once more: the bytes that come back must be those that were written.

        Parameters
        ----------
        read_back
            Reads it; may look at more than its checksums.

        Returns
        -------
        Written
            Size and checksums; also kept as :attr:`written`. Closing again returns it again.

        Raises
        ------
        ClosureError
            If the file reads back differently.
        """
        if self.written is not None:
            return self.written
        try:
            self.written = self._finish(read_back)
        except BaseException:
            self.abort()
            raise
        return self.written

    def abort(self) -> None:
        """Give up: close and remove the unfinished file. A file that was closed stays."""
        self._out.close()
        if self.written is None:
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def _finish(self, read_back: Callable[[Path], Checksums]) -> Written:
        root = self._directories[""]
        for one in self._objects:
            if one.before is not None:
                one.before()
            self._put(one.directory, one.names, one.body)
        if self.record is not None:
            line = json.dumps(self.record, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
            names = (RECORD_CLASS.encode(), RECORD_KEY.encode(), b"Collectable string class")
            self._put(root, names, partial(_object_string, line))
        holes = {}
        for directory in self._directories.values():
            holes[directory.place] = self._directory_record(directory)
        list_of = partial(streamer_list, others=self.streamers)
        info = self._put(None, (b"TList", b"StreamerInfo", b"Doubly linked list"), list_of)
        free = self._free()
        header = Header(
            self._out.position,
            free.seek,
            free.nbytes,
            1,
            root.key.length + len(text(_NAME)) + 1,
            self._compression.word,
            info.seek,
            info.nbytes,
            self._uuid("file"),
            big=self._is_big(self._out.position),
        )
        holes[0] = header.encode() + holes.pop(BEGIN)
        adler = self._out.finish(holes)
        sums = read_back(self.path)
        if (sums.bytes, sums.adler32) != (self._out.position, hex8(adler)):
            # Not CorruptFile: the input that this is made from did nothing wrong.
            raise ClosureError("the file reads back differently from what was written", where=str(self.path))
        return sums

    def _directory(self, path: str) -> _Directory:
        known = self._directories.get(path)
        if known is not None:
            return known
        above, _, name = path.rpartition("/")
        parent = self._directory(above)
        if any(one.directory is parent and one.names[1] == _encode(name) for one in self._objects):
            raise UsageError(f"{path!r} is a tree, not a directory")
        names = (b"TDirectory", _encode(name), _encode(name))
        at = self._out.position
        big = self._is_big(at)
        length, size = key_length(*names, big=big), DirectoryRecord.SIZE
        key = Key(length + size, size, self._date, length, 1, at, parent.place, *names, big=big)
        self._out.reserve(key.nbytes)
        parent.keys.append(key)
        made = self._directories[path] = _Directory(path, at, key, parent.place, [])
        return made

    def _put(
        self,
        directory: _Directory | None,
        names: tuple[bytes, bytes, bytes],
        body: Callable[[int], bytes | bytearray],
    ) -> Key:
        """Append an object under a key; `body` makes its bytes for a key of a given length."""
        at = self._out.position
        big = self._is_big(at)
        length = key_length(*names, big=big)
        data = body(length)
        payload = pack(data, self._compression)
        parent = directory.place if directory is not None else BEGIN
        key = Key(length + len(payload), len(data), self._date, length, 1, at, parent, *names, big=big)
        self._out.append(key.encode(), payload)
        if directory is not None:
            directory.keys.append(key)
        return key

    def _directory_record(self, directory: _Directory) -> bytes:
        """Append a directory's list of keys; return what its hole must hold."""
        listed = b"".join(key.encode() for key in directory.keys)
        data = len(directory.keys).to_bytes(4, "big") + listed
        own = directory.key
        at = self._out.position
        big = self._is_big(at)
        names = (own.class_name, own.name, own.title)
        length = key_length(*names, big=big)
        key = Key(length + len(data), len(data), self._date, length, 1, at, directory.place, *names, big=big)
        self._out.append(key.encode(), data)
        names_inside = text(_NAME) + text(b"") if directory.place == BEGIN else b""
        record = DirectoryRecord(
            self._date,
            self._date,
            key.nbytes,
            own.length + len(names_inside),
            directory.place,
            directory.parent,
            at,
            self._uuid("directory " + directory.path),
            big=big or self._is_big(directory.place),
        )
        return own.encode() + names_inside + record.encode()

    def _free(self) -> Key:
        at = self._out.position
        names = (b"TFile", _NAME, b"")
        big = self._is_big(at)
        length = key_length(*names, big=big)
        size = len(free_list(at, self._big_from))
        data = free_list(at + length + size, self._big_from)
        if len(data) != size:  # the list itself is what makes the file a big one
            data = free_list(at + length + len(data), self._big_from)
        key = Key(length + len(data), len(data), self._date, length, 1, at, BEGIN, *names, big=big)
        self._out.append(key.encode(), data)
        return key

    def _is_big(self, position: int) -> bool:
        return position > self._big_from

    def _uuid(self, what: str) -> bytes:
        return hashlib.blake2b(what.encode() + b"\0" + self.seed, digest_size=16).digest()


def _untold(_: int) -> bytes:
    raise AssertionError("the bytes of an object were never told")


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _object_string(line: str, _key_length: int) -> bytes:
    return versioned(1, tobject() + text(line))
