"""Whether a file stays what it is while it is read: a writer that is not finished must not go unseen."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from sitecfg.errors import CorruptFile, EventError, InputError, MissingFile

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["mark", "untouched"]


def mark(path: Path) -> tuple[int, int, int, int]:
    """Return what changes when somebody writes to a file, or puts another in its place.

    Raises
    ------
    MissingFile
        It isn't there any more.
    """
    try:
        told = path.stat()
    except OSError as error:
        raise MissingFile(f"it is gone: {error.strerror}", where=str(path)) from error
    return told.st_dev, told.st_ino, told.st_size, told.st_mtime_ns


@contextmanager
def untouched(path: Path, *, where: str) -> Iterator[None]:
    """Refuse what the block made of a file that was written to, replaced or removed meanwhile.

    Parameters
    ----------
    path
        The file.
    where
        What it is called in errors: the address by which the catalog knows it.

    Raises
    ------
    CorruptFile
        It was changed; what the block found wrong with it is the cause.
    MissingFile
        It isn't there any more.
    """
    before = mark(path)
    try:
        yield
    except (InputError, EventError) as error:
        _compare(before, path, where, error)
        raise
    _compare(before, path, where, None)


def _compare(before: tuple[int, int, int, int], path: Path, where: str, seen: Exception | None) -> None:
    try:
        now = mark(path)
    except MissingFile as error:
        raise MissingFile("it was removed while it was read", where=where, todo="bring it back") from error
    if now != before:
        raise CorruptFile(
            "it was changed while it was read",
            where=where,
            todo="declare a file when its writer is finished with it",
        ) from seen
