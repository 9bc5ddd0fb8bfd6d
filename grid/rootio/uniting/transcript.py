"""Write parts of a serialised tree anew, into another one: counts and references are made again on the way."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

from sitecfg.errors import UnsupportedContent

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from grid.rootio.format.objects import ObjectWriter
    from grid.rootio.format.walk import Walk

    #: Where something ends that is written otherwise, and what writes it.
    Replaced = tuple[int, Callable[[], None]]

__all__ = ["Places", "Transcript"]


class Places:
    """All places of a walked object where a byte count or a reference stands."""

    def __init__(self, walk: Walk) -> None:
        self.walk = walk
        self.counts = dict(walk.counts)
        self.all = sorted({*self.counts, *walk.references})


class Transcript:
    """What of an object is written into another one.

    Parameters
    ----------
    places
        The object.
    out
        Takes it. Each object is written in full where it is first met, and referred to from then on.
    replaced
        What is written in place of some parts, by where each begins.
    apart
        Where that begins and ends which nothing outside may refer to, and that may refer to nothing outside.
    """

    def __init__(
        self,
        places: Places,
        out: ObjectWriter,
        replaced: Mapping[int, Replaced],
        apart: tuple[int, int],
    ) -> None:
        self._places, self._out, self._replaced, self._apart = places, out, replaced, apart
        self._all = sorted({*places.all, *replaced})

    def copy(self, begin: int, end: int) -> None:
        """Write what stands in ``begin <= i < end``.

        Raises
        ------
        UnsupportedContent
            If it refers to what stands elsewhere.
        """
        at, number = begin, bisect_left(self._all, begin)
        data, places = self._places.walk.data, self._all
        while number < len(places) and places[number] < end:
            place = places[number]
            self._out.data += data[at:place]
            at = self._special(place)
            number = bisect_left(places, at, number + 1)
        self._out.data += data[at:end]

    def object(self, at: int) -> None:
        """Write a pointer to the object that begins at `at`."""
        walk, (begin, end) = self._places.walk, self._apart
        node = walk.nodes[at]
        if not begin <= at < end or not node.class_name.isascii():
            raise UnsupportedContent("parts of its description refer to others", where=walk.where)
        self._out.object((id(walk), at), node.class_name, lambda: self.copy(node.begin, node.end))

    def _special(self, place: int) -> int:
        """Write what stands at a place that depends on others; return where it goes on."""
        walk = self._places.walk
        if place in self._replaced:
            end, write = self._replaced[place]
            write()
            return end
        if place in walk.nodes:
            self.object(place)
            return walk.nodes[place].end
        if place in self._places.counts:
            end, start = self._places.counts[place], len(self._out.data)
            self._out.pack("I", 0)
            self.copy(place + 4, end)
            self._out.end(start)
            return end
        self.object(walk.u32(place) - walk.shift)
        return place + 4
