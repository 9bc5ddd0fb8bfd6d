"""The trigger table: immutable, by name, and what it means for a menu."""

from __future__ import annotations

import json
import tomllib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b, sha256
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from grid.trigger.menu import MENU_PREFIX, Menu, families, listed
from grid.trigger.rules import check, pairs, refusal
from sitecfg.errors import TriggerTableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Resolved", "TriggerTable", "diff"]

#: So many globs without a match get near names; the search is slow, and the list long enough by then.
_NEAR_LISTED: Final = 20


@dataclass(frozen=True, slots=True, eq=False)
class Resolved:
    """What a table means for one menu. The arrays are read-only.

    ``paths`` are the paths of the menu that some stream takes, sorted by name whatever the order in the menu:
    bit i stands for ``paths[i]``, and these are the branches to read. For b paths, s streams and
    ``w = ceil(b / 64)`` words, ``masks`` is uint64[s, w] with path i at bit ``i % 64`` of word ``i // 64``;
    ``prescales`` is uint64[b], 1 where every event is kept; ``salts`` is uint64[b], made of the path's name
    alone, so that a path keeps the same events under every table.
    """

    label: str
    paths: tuple[str, ...]
    stream_names: tuple[str, ...]
    masks: NDArray[np.uint64]
    prescales: NDArray[np.uint64]
    salts: NDArray[np.uint64]

    def stream_paths(self) -> dict[str, tuple[str, ...]]:
        """Return the paths that each stream takes."""
        import numpy as np  # who only keeps tables needs none

        bits = np.unpackbits(self.masks.astype("<u8").view(np.uint8), axis=1, bitorder="little")
        return {
            stream: tuple(self.paths[i] for i in np.flatnonzero(row))
            for stream, row in zip(self.stream_names, bits, strict=True)
        }


@dataclass(frozen=True, slots=True, eq=False)
class TriggerTable:
    """A trigger table; being one means that it is legal. Picklable; equal if the canonical JSON is.

    Parameters
    ----------
    name, tag
        What it is called; the two together belong to one content for ever.
    streams
        Path names or globs by stream, in the order of the stream bits; at most 64. A path may be in several.
    prescales
        Keep one event in so many, by path name or glob. A name goes before a glob.
    description
        For people; part of the content.
    origin
        The menu that the table was made from, if any. It serves to tell what changed, for nothing else.

    Raises
    ------
    TriggerTableError
        Lists every problem at once.
    """

    name: str
    tag: int
    streams: Mapping[str, Sequence[str]]
    prescales: Mapping[str, int] = field(default_factory=dict)
    description: str = ""
    origin: Sequence[str] | None = None

    def __post_init__(self) -> None:
        check({key: getattr(self, key) for key in self.__slots__}, where=self.label)
        streams = {stream: tuple(sorted(set(globs))) for stream, globs in self.streams.items()}
        # Orders without a meaning are made one, so that they don't change the hash; that of streams has one.
        object.__setattr__(self, "streams", MappingProxyType(streams))
        object.__setattr__(self, "prescales", MappingProxyType(dict(sorted(self.prescales.items()))))
        object.__setattr__(self, "origin", None if self.origin is None else tuple(sorted(self.origin)))

    @classmethod
    def from_toml(cls, path: Path) -> Self:
        """Read a table from a file; every problem is reported as file and key.

        Raises
        ------
        TriggerTableError
            The file can't be read, is no TOML, or is no table.
        """
        try:
            values = tomllib.loads(path.read_text("utf-8-sig"))
        except OSError as error:
            raise TriggerTableError(f"can't be read: {error.strerror}", where=str(path)) from error
        except ValueError as error:  # no UTF-8, or no TOML
            raise TriggerTableError(f"is no TOML: {error}", where=str(path)) from error
        check(values, where=str(path))
        return cls(**values)

    @classmethod
    def from_json(cls, document: Mapping[str, Any] | str) -> Self:
        """Rebuild a table from :meth:`to_json`, given as such or as text.

        Raises
        ------
        TriggerTableError
            It is no table.
        """
        try:
            values = json.loads(document) if isinstance(document, str) else document
        except ValueError as error:
            raise TriggerTableError(f"is no JSON: {error}", where="trigger table") from error
        if not isinstance(values, Mapping):
            raise TriggerTableError("is no JSON object", where="trigger table")
        streams = values.get("streams")
        values = {**values, "streams": pairs(streams) if isinstance(streams, list) else streams}
        check(values, where="trigger table")
        return cls(**values)

    @classmethod
    def from_menu(
        cls,
        name: str,
        tag: int,
        paths: Iterable[str],
        streams: Mapping[str, Sequence[str]] | None = None,
        *,
        prefix: str = MENU_PREFIX,
    ) -> Self:
        """Make a table out of a menu, such as the trigger branches of a file.

        Without ``streams``, each path goes to one stream by the leading word of its name, so that every event
        that fired anything is in a stream; see :func:`families`.

        Raises
        ------
        TriggerTableError
            The menu is empty, or a glob of ``streams`` matches nothing in it.
        """
        menu = tuple(paths)
        if not menu:
            raise TriggerTableError(
                "the menu has no paths",
                where=f"{name}/{tag}",
                todo="say what the names of path branches begin with",
            )
        table = cls(name, tag, families(menu, prefix=prefix) if streams is None else streams, origin=menu)
        table.resolve(menu)
        return table

    @property
    def label(self) -> str:
        """``NAME/TAG``."""
        return f"{self.name}/{self.tag}"

    @property
    def canonical(self) -> str:
        """The one JSON text of this content."""
        return json.dumps(self.to_json(), separators=(",", ":"), sort_keys=True)

    @property
    def hash(self) -> str:
        """The sha256 of the canonical JSON, name and tag included; 64 hex digits."""
        return sha256(self.canonical.encode("ascii")).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the table as plain JSON types. Streams are a list of pairs: their order has a meaning."""
        return {
            "name": self.name,
            "tag": self.tag,
            "description": self.description,
            "streams": [[stream, list(globs)] for stream, globs in self.streams.items()],
            "prescales": dict(self.prescales),
            "origin": None if self.origin is None else list(self.origin),
        }

    def resolve(self, menu: Iterable[str]) -> Resolved:
        """Find what the table means for a menu, by name.

        Raises
        ------
        TriggerTableError
            A glob of a stream or a prescale matches nothing in the menu (near names are listed), two globs
            prescale a path differently, or the menu names a path twice.
        """
        import numpy as np

        known = Menu(menu, self.label)
        asked = [(f"streams.{stream}", glob) for stream, globs in self.streams.items() for glob in globs]
        asked += [("prescales", glob) for glob in self.prescales]
        unmatched = [(key, glob) for key, glob in asked if not known.match(glob)]
        if unmatched:
            raise _unmatched(self.label, unmatched, known)
        chosen = [known.matches(globs) for globs in self.streams.values()]
        factors = self._prescales(known)

        paths = tuple(sorted(set().union(*chosen)))
        bit = {path: i for i, path in enumerate(paths)}
        flags = np.zeros((len(chosen), -(-len(paths) // 64) * 64), np.bool_)
        for row, of_stream in zip(flags, chosen, strict=True):
            row[[bit[path] for path in of_stream]] = True
        masks = np.packbits(flags, axis=1, bitorder="little").view("<u8").astype(np.uint64)
        prescales = np.array([factors.get(path, 1) for path in paths], np.uint64)
        salts = np.array([_salt(path) for path in paths], np.uint64)
        for array in (masks, prescales, salts):
            array.flags.writeable = False
        return Resolved(self.label, paths, tuple(self.streams), masks, prescales, salts)

    def changes(self, menu: Iterable[str]) -> tuple[str, ...]:
        """Say in words how what the streams take from this menu differs from what they took from the origin.

        A path that was renamed or dropped can leave a glob matching fewer paths, which is no error. Nothing is
        said when the table has no origin.
        """
        if self.origin is None:
            return ()
        before, after = Menu(self.origin, self.label), Menu(menu, self.label)
        words: list[str] = []
        for stream, globs in self.streams.items():
            old, new = before.matches(globs), after.matches(globs)
            words += _gone_and_new(f"stream {stream}", old, new)
        return tuple(words)

    def _prescales(self, menu: Menu) -> dict[str, int]:
        found: dict[str, dict[int, str]] = defaultdict(dict)
        for glob, factor in self.prescales.items():
            for path in menu.match(glob):
                found[path].setdefault(factor, glob)
        factors = {path: min(given) for path, given in found.items()}
        for path, given in found.items():
            if path in self.prescales:
                factors[path] = self.prescales[path]
            elif len(given) > 1:
                raise TriggerTableError(
                    f"{path} is prescaled differently by {' and '.join(map(repr, given.values()))}",
                    where=f"{self.label}: prescales",
                    todo="give the path its own prescale",
                )
        return factors

    def __str__(self) -> str:
        return self.label

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TriggerTable) and self.canonical == other.canonical

    def __hash__(self) -> int:
        return hash(self.canonical)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self).from_json, (self.to_json(),)


def diff(old: TriggerTable, new: TriggerTable) -> tuple[str, ...]:
    """Say in words how the content of two tables differs; nothing if only name and tag do."""
    words: list[str] = []
    if old.description != new.description:
        words.append(f"description: {old.description!r} became {new.description!r}")
    words += [f"stream {stream} is gone" for stream in old.streams if stream not in new.streams]
    for stream, globs in new.streams.items():
        if stream in old.streams:
            words += _gone_and_new(f"stream {stream}", old.streams[stream], globs)
        else:
            words.append(f"stream {stream} is new: {listed(globs)}")
    before = [stream for stream in old.streams if stream in new.streams]
    after = [stream for stream in new.streams if stream in old.streams]
    if before != after:
        words.append(f"the order of the streams {', '.join(before)} became {', '.join(after)}")
    for path in sorted({*old.prescales, *new.prescales}):
        a, b = old.prescales.get(path), new.prescales.get(path)
        if a != b:
            words.append(f"prescale of {path}: {a or 'none'} became {b or 'none'}")
    if old.origin is not None and new.origin is not None:
        words += _gone_and_new("the menu it was made from", old.origin, new.origin)
    return tuple(words)


def _unmatched(label: str, unmatched: list[tuple[str, str]], menu: Menu) -> TriggerTableError:
    lines, facts = [], []
    for number, (key, glob) in enumerate(unmatched):
        close = menu.near(glob) if number < _NEAR_LISTED else []
        facts.append({"key": key, "glob": glob, "near": close})
        hint = f"; near: {', '.join(close)}" if close else ""
        lines.append(f"{key}: {glob!r} matches no path of the menu{hint}")
    todo = "correct the table under a new tag, or use the table that was made for this menu"
    if not menu.paths:
        todo = "the menu is empty: say what the names of path branches begin with"
    return refusal(lines, label, todo, facts)


def _salt(path: str) -> int:
    return int.from_bytes(
        blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8, person=b"prescale").digest(), "little"
    )


def _gone_and_new(what: str, old: Iterable[str], new: Iterable[str]) -> Iterator[str]:
    gone, added = sorted(set(old) - set(new)), sorted(set(new) - set(old))
    if gone:
        yield f"{what} lost {listed(gone)}"
    if added:
        yield f"{what} gained {listed(added)}"
