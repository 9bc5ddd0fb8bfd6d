"""How inputs that differ in branches fit into one tree: what a copier is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grid.rootio.format.baskets import BasketKey
    from grid.rootio.image import Image
    from grid.rootio.verbatim.baskets import Baskets
    from grid.rootio.verbatim.slots import Said
    from grid.rootio.verbatim.template import Template

__all__ = ["Made", "Rest", "United"]


class Made(NamedTuple):
    """A basket that no input has: ``payload`` is what it holds unpacked, ``data`` bytes of it the entries."""

    branch: int
    first: int
    entries: int
    payload: bytes
    data: int
    key: BasketKey


class Rest(Protocol):
    """What the output has of an input beside the baskets that are copied."""

    @property
    def covered(self) -> int:
        """The packed bytes read so far whose checksums were tested."""

    def baskets(self, image: Image, tree: str) -> Iterator[Made]:
        """Make the baskets, one after the other; `tree` is the name of the output's tree."""


class United(Protocol):
    """A tree that has the branches of all inputs."""

    @property
    def template(self) -> Template:
        """Its description."""

    def fit(self, data: bytes, key_length: int, where: str) -> tuple[Said, Baskets, Rest | None]:
        """Understand the tree of an input; the branches of the answer are counted as those of the template are.

        Raises
        ------
        CorruptFile, UnsupportedContent
            As :func:`grid.rootio.verbatim.baskets.baskets_of`.
        SchemaMismatch
            If it is none of those that the output was made for.
        """
