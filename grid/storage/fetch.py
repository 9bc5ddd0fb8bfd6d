"""Bring a file to where it can be read again and again: a local path for any URL that fsspec opens."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from sitecfg.errors import GatewayUnreachable, GridError, MissingFile, NoSpace, TruncatedFile, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["copy_out", "foreign_errors", "local_copy", "local_path"]

_BLOCK = 4 << 20


def local_path(url: str) -> Path | None:
    """Return the path that a plain path or ``file:`` URL names, None for anything remote."""
    if "://" not in url and not url.startswith("file:"):
        return Path(url)
    parts = urlsplit(url)
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


@contextmanager
def local_copy(url: str, scratch: Path, progress: Callable[[int, int], None] | None = None) -> Iterator[Path]:
    """Give a local path to the bytes of `url`; a copy in `scratch` is removed at the end.

    Memory stays at one block whatever the size. Local files are used where they lie.

    Raises
    ------
    MissingFile
        The file isn't there or may not be read.
    TruncatedFile
        Fewer bytes arrived than the storage promised.
    GatewayUnreachable
        The storage can't be reached now; trying again is worth while.
    NoSpace
        The scratch disk is full.
    """
    path = local_path(url)
    if path is not None:
        _look(path, url)
        yield path
        return
    name = hashlib.sha256(url.encode()).hexdigest()[:16]
    scratch.mkdir(parents=True, exist_ok=True)
    copy = scratch / f"fetched-{name}-{os.getpid()}.root"
    try:
        _fetch(url, copy, progress)
        yield copy
    finally:
        copy.unlink(missing_ok=True)


def copy_out(url: str, copy: Path, progress: Callable[[int, int], None] | None = None) -> None:
    """Copy the bytes of `url` to a new local file, whatever kind of address it is; raises as :func:`local_copy`."""
    path = local_path(url)
    if path is not None:
        _look(path, url)
    _fetch(path.absolute().as_uri() if path is not None else url, copy, progress)


def _look(path: Path, url: str) -> None:
    """Refuse what is no file that can be read: a folder, a pipe, a name that leads nowhere."""
    try:
        regular = stat.S_ISREG(path.stat().st_mode)
    except FileNotFoundError as error:
        raise MissingFile("no such file", where=url, todo="check the path and the mount") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise MissingFile(
            f"it can't be looked at: {reason}", where=url, todo="check the path and its permissions"
        ) from error
    if not regular:
        raise MissingFile(
            "it is no file, but a folder, a pipe or the like", where=url, todo="check the path and the mount"
        )


@contextmanager
def foreign_errors(url: str) -> Iterator[None]:
    """Turn what fsspec and the libraries behind it raise into our errors, as :func:`local_copy` lists them."""
    import aiohttp

    try:
        yield
    except GridError:
        raise
    except (ImportError, ValueError) as error:
        raise UsageError(f"this kind of address can't be opened: {error}", where=url) from error
    except (FileNotFoundError, PermissionError) as error:
        # fsspec's HTTP says that a file is missing when it could not even ask for it
        if isinstance(error.__cause__, OSError):
            raise GatewayUnreachable(f"the storage does not answer: {error.__cause__}", where=url) from error
        raise MissingFile(f"it can't be opened: {error}", where=url, todo="check the address") from error
    except (OSError, aiohttp.ClientError) as error:
        raise GatewayUnreachable(f"the storage does not answer: {error}", where=url) from error


def _fetch(url: str, copy: Path, progress: Callable[[int, int], None] | None) -> None:
    import fsspec

    with foreign_errors(url):
        filesystem, place = fsspec.core.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
        with filesystem.open(place, "rb") as source:
            size = int(getattr(source, "size", None) or 0)
            arrived = _copy(source, copy, lambda done: progress(done, size) if progress else None)
    if size and arrived != size:
        raise TruncatedFile(f"{arrived} of {size} bytes arrived", where=url, todo="try again")


def _copy(source: Any, copy: Path, tell: Callable[[int], None]) -> int:
    arrived = 0
    with copy.open("wb") as out:
        while block := source.read(_BLOCK):
            try:
                out.write(block)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise NoSpace(
                        "the scratch disk is full", where=str(copy), todo="free space, then retry"
                    ) from error
                raise
            arrived += len(block)
            tell(arrived)
    return arrived
