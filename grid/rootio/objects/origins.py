"""Which original files objects are from, so that nothing is added up twice.

A split copies all objects whole into every stream's output, where the record names the file that they are from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sitecfg.errors import SchemaMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from grid.rootio.objects.stored import Stored
    from grid.rootio.verbatim.inputs import Input

__all__ = ["ORIGINS", "Origins"]

#: What the record of a file calls them: XXH3-128 of each original file, "" for those that nobody knows.
ORIGINS = "objects_of"


class Origins:
    """The original files of all objects so far, in order."""

    def __init__(self) -> None:
        self.files: dict[str, None] = {}
        self._digests: dict[frozenset[str], bytes] = {}

    def add(self, source: Input, objects: Mapping[str, Stored], own: str) -> bool:
        """Note where an input's objects are from; return whether they are new.

        `own` is the origin of objects of which the input's record doesn't say it.

        Raises
        ------
        SchemaMismatch
            If only some of them are new, or those that should be known differ from those before.
        """
        told = source.record.get(ORIGINS)
        sound = isinstance(told, list) and all(isinstance(one, str) for one in told)
        said: list[str] = [one or own for one in told] if sound and told else [own]
        files = frozenset(said)
        if files.isdisjoint(self.files.keys() - {""}):
            if "" not in files:
                self._digests[files] = _digest(objects)
            self.files.update(dict.fromkeys(said))
            return True
        if not files <= self.files.keys() - {""}:
            raise SchemaMismatch(
                "some of what its objects (histograms and others) are from is there already, some is not",
                where=str(source.path),
                todo="merge the outputs for one stream with each other before those of other streams",
            )
        if files in self._digests and self._digests[files] != _digest(objects):
            raise SchemaMismatch(
                "its objects should be those of an earlier input, but differ from these",
                where=str(source.path),
                todo='if they are to be added, say side="concat" (--side concat)',
            )
        return False


def _digest(objects: Mapping[str, Stored]) -> bytes:
    from xxhash import xxh3_128

    digest = xxh3_128()
    for path in sorted(objects):
        digest.update(path.encode("utf-8", "surrogateescape") + b"\0" + objects[path].plain)
    return digest.digest()
