"""Menus: the path names that a file or a table knows, and what globs match among them."""

from __future__ import annotations

import fnmatch
import json
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from hashlib import sha256
from itertools import islice
from typing import TYPE_CHECKING, Final

from sitecfg import names
from sitecfg.errors import TriggerTableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["MENU_PREFIX", "Menu", "families", "listed", "menu_hash"]

#: What the branches of trigger paths begin with, unless a recipe says otherwise.
MENU_PREFIX: Final = "HLT_"
#: The family of what has none of its own.
OTHER: Final = "Other"
_ANY_VERSION: Final = "_v*"
_VERSION: Final = re.compile(r"_v[0-9]+\Z", re.ASCII)
_WILD: Final = re.compile(r"[*?\[\]]")
# "AK8PFJet" and "L1SingleMu" begin with AK8 and L1; "HT430" with HT.
_WORD: Final = re.compile(r"[A-Z]{1,2}[0-9](?![0-9])|[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+|[A-Z]", re.ASCII)


class Menu:
    """The path names of a menu, sorted, with what each glob matches among them.

    Raises
    ------
    TriggerTableError
        A path is named twice.
    """

    def __init__(self, paths: Iterable[str], label: str) -> None:
        self.paths = sorted(paths)
        twice = [path for path, count in Counter(self.paths).items() if count > 1]
        if twice:
            raise TriggerTableError(f"the menu names a path twice: {listed(twice)}", where=label)
        self._found: dict[str, list[str]] = {}

    def match(self, glob: str) -> list[str]:
        """Return the paths that a glob matches, sorted."""
        if glob not in self._found:
            self._found[glob] = self._match(glob)
        return self._found[glob]

    def _match(self, glob: str) -> list[str]:
        stem = glob.removesuffix(_ANY_VERSION)
        literal = _WILD.split(stem, maxsplit=1)[0]
        fits = _test(stem, literal)
        # Only names that begin like the glob are looked at: a thousand globs over a thousand paths stay quick.
        found = []
        for path in islice(self.paths, bisect_left(self.paths, literal), None):
            if not path.startswith(literal):
                break
            if fits(path if stem == glob else _VERSION.sub("", path)):
                found.append(path)
        return found

    def matches(self, globs: Iterable[str]) -> set[str]:
        """Return the paths that any of the globs matches."""
        return {path for glob in globs for path in self.match(glob)}

    def near(self, glob: str) -> list[str]:
        """Return the paths that look like a glob that matches none."""
        stem = glob.removesuffix(_ANY_VERSION)
        wanted = _WILD.sub("", stem)
        if not stem.endswith("*"):
            return names.near(wanted, self.paths)
        # What the star stands for isn't known, so only the beginnings of the paths are compared.
        heads: dict[str, str] = {}
        for path in self.paths:
            heads.setdefault(path[: len(wanted)], path)
        return [heads[head] for head in names.near(wanted, heads)]


def _test(glob: str, literal: str) -> Callable[[str], object]:
    """Return what tells whether a name that begins with the glob's literal part fits all of it."""
    if glob == literal:
        return glob.__eq__
    if glob == f"{literal}*":
        return bool
    return re.compile(fnmatch.translate(glob)).match


def families(
    paths: Iterable[str], *, prefix: str = MENU_PREFIX, limit: int = 8
) -> dict[str, tuple[str, ...]]:
    """Group paths by the leading word of their names: ``HLT_DoubleEle25`` -> ``Double``, ``HLT_PFHT430`` -> ``PFHT``.

    When there are more than ``limit`` words, those with the most paths keep a group each and the rest goes to
    ``Other``. Every path is in exactly one group; groups are sorted by name, ``Other`` last.
    """
    groups: dict[str, list[str]] = defaultdict(list)
    for path in sorted(set(paths)):
        word = _WORD.match(path.removeprefix(prefix).lstrip("_"))
        groups[word.group() if word and word.group() != names.UNMERGED else OTHER].append(path)
    rest = groups.pop(OTHER, [])
    ranked = sorted(groups, key=lambda word: (-len(groups[word]), word))
    kept = ranked if len(ranked) + bool(rest) <= limit else ranked[: limit - 1]
    rest += [path for word in groups if word not in kept for path in groups[word]]
    answer = {word: tuple(groups[word]) for word in sorted(kept)}
    return answer | ({OTHER: tuple(sorted(rest))} if rest else {})


def menu_hash(paths: Iterable[str]) -> str:
    """Return the sha256 of a menu's names, whatever their order; 64 hex digits."""
    return sha256(json.dumps(sorted(paths)).encode()).hexdigest()


def listed(paths: Sequence[str], limit: int = 10) -> str:
    """Write the first names of a list and how many more there are."""
    more = f" and {len(paths) - limit} more" if len(paths) > limit else ""
    return ", ".join(paths[:limit]) + more
