"""Open a ROOT file for reading: what is in it, and its columns in chunks of bounded memory."""

from __future__ import annotations

import errno
import lzma
import struct
import sys
import zlib
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from grid.rootio.image import Image
from grid.rootio.planning import cut
from grid.rootio.record import RECORD_CLASS, RECORD_KEY, parse_record, read_record
from grid.rootio.structure import read_header, read_skeleton
from sitecfg.errors import (
    CorruptFile,
    GridError,
    InputError,
    MissingFile,
    NotRootFile,
    TruncatedFile,
    UnsupportedContent,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    from grid.rootio.columns import Branch, Column
    from grid.rootio.readers import BranchReader, TreeReader

__all__ = ["Chunk", "Source", "TreeInfo", "open_source"]

_TREE_CLASSES = frozenset({"TTree", "TNtuple", "TNtupleD"})
_SLASHED = "it can't be looked up by its name; a slash in the name of a tree is the usual reason"
_NTUPLE_CLASSES = frozenset({"ROOT::RNTuple", "ROOT::Experimental::RNTuple"})


@dataclass(frozen=True, slots=True)
class TreeInfo:
    """One tree of a file, in its highest cycle.

    Parameters
    ----------
    path
        Directories and name, without the cycle.
    kind
        ``"TTree"`` or ``"RNTuple"``.
    entries
        The number of entries.
    title
        The tree's title.
    branches
        The branches that can be read, in the file's order.
    refused
        What can't be read or represented, and why: branches, and parts of the tree such as aliases.
    notes
        What is carried in another form.
    """

    path: str
    kind: str
    entries: int
    title: str
    branches: tuple[Branch, ...]
    refused: tuple[tuple[str, str], ...]
    notes: tuple[str, ...] = ()

    def by_name(self) -> dict[str, Branch]:
        """Return the branches by name."""
        return {branch.name: branch for branch in self.branches}


@dataclass(frozen=True, slots=True)
class Chunk:
    """The entries ``start <= i < stop`` of some branches of one tree."""

    start: int
    stop: int
    columns: dict[str, Column]


class _Listed(NamedTuple):
    """An object of a file, in its highest cycle: how uproot calls it, its class, and where its key lies."""

    name: str
    kind: str
    seek: int
    #: Whether its own name has a slash in it: as a path that means something else.
    slashed: bool = False


class Source:
    """A ROOT file open for reading. Use :func:`open_source`."""

    def __init__(self, url: str, *, plain: bool = True) -> None:
        self.url = url
        self._opened = ExitStack()
        #: The file's bytes, if it is a local one.
        self._image = self._opened.enter_context(Image(Path(url))) if "://" not in url and plain else None
        self._readers: dict[str, TreeReader] = {}
        self._infos: dict[str, TreeInfo] = {}
        self._compression = 0
        try:
            self._listed = self._list_by_uproot() if self._image is None else self._list(self._image)
        except BaseException:
            self._opened.close()
            raise
        self._trees = {
            path: one for path, one in self._listed.items() if one.kind in _TREE_CLASSES | _NTUPLE_CLASSES
        }
        #: Everything that is neither tree nor directory: (path, class).
        self.others: tuple[tuple[str, str], ...] = tuple(
            (path, one.kind)
            for path, one in self._listed.items()
            if path not in self._trees and not one.kind.startswith("TDirectory")
            if (path, one.kind) != (RECORD_KEY, RECORD_CLASS)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; calling it twice is fine."""
        self._readers.clear()
        self._opened.close()

    @property
    def tree_paths(self) -> tuple[str, ...]:
        """The paths of all trees, without reading them."""
        return tuple(self._trees)

    @cached_property
    def trees(self) -> dict[str, TreeInfo]:
        """All trees by path; reads the header of each."""
        return {path: self.info(path) for path in self._trees}

    @cached_property
    def record(self) -> dict[str, Any] | None:
        """The provenance that our own writer stored, or ``None`` in foreign files.

        Raises
        ------
        CorruptFile
            If the key is there but is no JSON object.
        """
        listed = self._listed.get(RECORD_KEY)
        if listed is None or listed.kind != RECORD_CLASS:
            return None
        if self._image is not None:
            return read_record(self._image, self._image.key(listed.seek, RECORD_KEY))
        with translated(self.url, RECORD_KEY):
            text = str(self._file[RECORD_KEY])
        return parse_record(text, f"{self.url}: {RECORD_KEY}")

    @cached_property
    def compression(self) -> str:
        """The compression that most branches of the largest tree use, as a ``Sink`` spells it."""
        codes: list[int] = []
        for path in self._trees:
            self.info(path)
            codes = max(codes, self._readers[path].compression_codes, key=len)
        code = max(set(codes), key=codes.count) if codes else 0
        return compression_name(code or self._compression)

    def info(self, path: str) -> TreeInfo:
        """Describe one tree.

        Raises
        ------
        UnsupportedContent, CorruptFile
            If its header can't be read.
        InputError
            If there is no tree of this path.
        """
        if path not in self._trees:
            raise InputError(
                f"there is no tree {path}",
                where=self.url,
                todo=f"the trees are: {', '.join(self._trees) or 'none'}",
            )
        if path not in self._infos:
            listed = self._trees[path]
            if listed.slashed:
                raise UnsupportedContent(_SLASHED, where=f"{self.url}: {path}")
            with translated(self.url, path):
                if listed.kind in _TREE_CLASSES:
                    self._infos[path], self._readers[path] = self._open_ttree(listed, path)
                else:
                    from grid.rootio.rntuple import open_rntuple

                    self._infos[path], self._readers[path] = open_rntuple(self._file, listed.name, path)
        return self._infos[path]

    def of_bytes(self, path: str) -> dict[str, BranchReader] | None:
        """Return what reads a tree's branches, if the bytes of each one's entries tell its values; else ``None``."""
        plain, readers = not self.info(path).refused, self._readers[path].readers
        return readers if plain and all(one.of_bytes for one in readers.values()) else None

    def read(self, path: str, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Read entries ``start <= i < stop`` of some branches of a tree; at least one basket each is unpacked.

        Raises
        ------
        CorruptFile
            If the bytes of a basket contradict themselves; the branch is named.
        """
        self.info(path)
        readers = self._readers[path].readers
        columns = {}
        for name in names:
            with translated(self.url, f"{path}/{name}"):
                columns[name] = readers[name].read(start, stop)
        for name, column in columns.items():
            counter = readers[name].branch.counter
            if counter in columns and (columns[counter].values != column.counts).any():
                raise CorruptFile(
                    f"it has not as many values as its counter {counter} says",
                    where=f"{self.url}: {path}/{name}",
                )
        return columns

    def ranges(self, wanted: Mapping[str, Sequence[str]], memory_bytes: int) -> list[tuple[int, int]]:
        """Cut the entries of trees of the same length into ranges that fit into `memory_bytes` unpacked."""
        weights = []
        entries = 0
        for path, names in wanted.items():
            entries = self.info(path).entries
            weights += [self._readers[path].readers[name].weight() for name in names]
        return cut(entries, weights, memory_bytes)

    def chunks(self, path: str, names: Sequence[str], memory_bytes: int = 1 << 27) -> Iterator[Chunk]:
        """Yield a tree's entries in order, in chunks of at most about `memory_bytes` of unpacked values.

        One basket is the smallest thing that is unpacked, so a basket larger than `memory_bytes`
        takes what it takes. A tree without entries yields nothing.
        """
        for start, stop in self.ranges({path: names}, memory_bytes):
            yield Chunk(start, stop, self.read(path, names, start, stop))

    def _open_ttree(self, listed: _Listed, path: str) -> tuple[TreeInfo, TreeReader]:
        """Describe a tree by the quick way if it is a plain one in a local file, else by uproot."""
        from grid.rootio.plainread import open_plain

        if self._image is not None and (found := open_plain(self._image, listed.seek, path)):
            return found
        from grid.rootio.ttree import open_ttree

        name, kind = listed.name, listed.kind
        return open_ttree(self._file, name, path, kind, self._reopen, partial(self._foreign, listed, path))

    def _foreign(self, listed: _Listed, path: str) -> dict[str, str]:
        """Return the branches of a tree whose baskets lie in other files; for local files only."""
        from grid.rootio.format.unpack import unpack
        from grid.rootio.treescan import scan_tree

        if self._image is None:
            return {}
        found = self._image.key(listed.seek, path)
        payload = self._image.read(found.seek + found.length, found.packed_bytes, path)
        where = self._image.where(path)
        scan = scan_tree(unpack(payload, found.object_bytes, where), found.length, listed.kind, where)
        return {branch.name: branch.foreign for branch in scan.branches if branch.foreign}

    @cached_property
    def _file(self) -> Any:
        """The file as uproot sees it; a local one of nothing but plain trees needs none."""
        with translated(self.url):
            file = _open(self.url)
        self._opened.callback(file.close)
        return file

    def _reopen(self) -> Any:
        import uproot

        file = uproot.open(self.url, array_cache=None, object_cache=None)
        self._opened.callback(file.close)
        return file

    def _list(self, image: Image) -> dict[str, _Listed]:
        """Return what a local file holds, read by our own code."""
        skeleton = read_skeleton(image)
        if not skeleton.header.seek_info or not skeleton.header.seek_free:
            raise _unclosed(self.url)
        self._compression = skeleton.header.compression
        return {
            path: _Listed(
                f"{path};{entry.key.cycle}", entry.class_name, entry.key.seek, slashed=b"/" in entry.key.name
            )
            for path, entry in skeleton.newest().items()
        }

    def _list_by_uproot(self) -> dict[str, _Listed]:
        found: dict[str, tuple[int, _Listed]] = {}
        with translated(self.url):
            self._compression = int(self._file.file.fCompress)
            for name, kind in self._file.classnames(recursive=True, cycle=True).items():
                path, _, cycle = name.rpartition(";")
                if path not in found or int(cycle) > found[path][0]:
                    found[path] = (int(cycle), _Listed(name, kind, self._file.key(name).fSeekKey))
        return {path: listed for path, (_, listed) in found.items()}


def open_source(url: str | Path, *, plain: bool = True) -> Source:
    """Open a ROOT file, local or at any URL that fsspec knows.

    Parameters
    ----------
    url
        The file.
    plain
        Whether trees of plain leaves in local files are read by our own quick code; else uproot reads them.

    Returns
    -------
    Source
        A context manager; only the header and the key list have been read.

    Raises
    ------
    MissingFile, NotRootFile, TruncatedFile, CorruptFile, UnsupportedContent
        With the file's name in ``where``.
    """
    return Source(str(url), plain=plain)


def compression_name(code: int) -> str:
    """Spell ROOT's compression number (algorithm * 100 + level) as ``"zlib:1"`` or ``"none"``."""
    algorithm, level = divmod(code, 100)
    if level == 0:
        return "none"
    return f"{ {2: 'lzma', 4: 'lz4', 5: 'zstd'}.get(algorithm, 'zlib') }:{level}".replace(" ", "")


@contextmanager
def translated(url: str, key: str = "") -> Iterator[None]:
    """Turn what foreign libraries raise into our own errors, with file and key."""
    where = f"{url}: {key}" if key else url
    try:
        yield
    except GridError as error:
        error.where = error.where or where
        raise
    except FileNotFoundError as error:
        raise MissingFile("there is no such file", where=url) from error
    except (PermissionError, IsADirectoryError) as error:
        raise MissingFile(f"it can't be read: {error.strerror or error}", where=url) from error
    except _failures() as error:
        if isinstance(error, OSError) and error.errno not in {None, errno.EINVAL}:
            # The system's word on the storage. An offset that it calls invalid comes from the bytes.
            raise MissingFile(f"it can't be read: {error.strerror}", where=url) from error
        if isinstance(error, _unknown()):
            raise UnsupportedContent("uproot has no rule to read it", where=where) from error
        raise _kind(error, key)(_sentence(error), where=where) from error


def _loaded(module: str, name: str) -> tuple[type[Exception], ...]:
    """Return an error of a module, if that is loaded: otherwise nothing raises it."""
    return (getattr(sys.modules[module], name),) if module in sys.modules else ()


def _unknown() -> tuple[type[Exception], ...]:
    """Return what uproot raises where it has no rule."""
    return _loaded("uproot.interpretation.identify", "UnknownInterpretation")


def _failures() -> tuple[type[Exception], ...]:
    """Return what foreign libraries raise over bytes that they don't understand."""
    return (
        *_unknown(),
        *_loaded("uproot.deserialization", "DeserializationError"),
        *_loaded("cramjam", "DecompressionError"),
        ArithmeticError,
        AssertionError,
        AttributeError,
        EOFError,
        LookupError,
        MemoryError,
        NameError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
        lzma.LZMAError,
        struct.error,
        zlib.error,
    )


def _kind(error: BaseException, key: str) -> type[InputError]:
    text = str(error)
    if "not a ROOT file" in text:
        return NotRootFile
    if "expected Chunk of length" in text and not key:
        return TruncatedFile
    if (
        _unlisted(text)
        or "unsupported compression algorithm" in text
        or isinstance(error, NotImplementedError)
    ):
        return UnsupportedContent
    return CorruptFile


def _unlisted(text: str) -> bool:
    """Whether uproot doesn't find a key, although it has listed it."""
    return "not found" in text and "cycle number" in text


def _sentence(error: BaseException) -> str:
    text = str(error)
    if "unsupported compression algorithm: b'CS'" in text:
        return "its blocks are compressed with ROOT's first algorithm (CS), which can't be read yet"
    if _unlisted(text):
        return _SLASHED
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f"it can't be read: {type(error).__name__}: {lines[0][:200] if lines else 'no reason given'}"


def _open(url: str) -> Any:
    import uproot

    if "://" not in url:
        with Image(Path(url)) as image:
            read_header(image)
    file = uproot.open(url, array_cache=None, object_cache=None, minimal_ttree_metadata=False)
    head = file.file
    size = head.source.num_bytes
    if head.fEND > size:
        raise TruncatedFile(
            f"it should have {head.fEND} bytes, but has {size}", where=url, todo="fetch it again"
        )
    if head.fSeekInfo == 0 or head.fSeekFree == 0:
        raise _unclosed(url)
    return file


def _unclosed(url: str) -> TruncatedFile:
    return TruncatedFile("it was never closed by its writer", where=url, todo="write it again")
