"""Find the files that paths, globs, URLs and a site's storage places name."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING

from grid.storage.fetch import foreign_errors, local_path
from sitecfg.errors import MissingFile, UsageError
from sitecfg.names import near

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["find_files", "size_of"]

#: ``place://NAME/rest`` is ``rest`` at the storage place that the site's settings call NAME.
_PLACE = "place://"


def find_files(patterns: Iterable[str | Path], places: Mapping[str, str] | None = None) -> list[str]:
    """Return the addresses of the files that patterns name, sorted; each once.

    Parameters
    ----------
    patterns
        Paths, URLs that fsspec opens, ``place://NAME/rest``, and globs of each. A remote address without ``*`` is
        taken as it is: whether the file is there shows when it is fetched.
    places
        URL of each storage place by name, as in the site's settings.

    Raises
    ------
    MissingFile
        A path or glob names nothing.
    UsageError
        No such storage place, or an address of a kind that fsspec does not open.
    GatewayUnreachable
        The storage can't be asked for the names that a glob matches.
    """
    found: set[str] = set()
    for given in map(str, patterns):
        pattern = _at_place(given, places or {}) if given.startswith(_PLACE) else given
        path = local_path(pattern)
        if path is not None:
            found.update(_local(str(path)))
        elif "*" in pattern:
            found.update(_remote(pattern))
        else:
            found.add(pattern)
    return sorted(found)


def _at_place(given: str, places: Mapping[str, str]) -> str:
    name, _, rest = given.removeprefix(_PLACE).partition("/")
    if name not in places:
        known = near(name, places) or list(places)
        raise UsageError(
            f"no storage place is called {name!r}" + (f"; there is {', '.join(known)}" if known else ""),
            where=given,
            todo="name it in grid.toml under [storage.places.NAME], with its url",
        )
    return f"{places[name].rstrip('/')}/{rest}"


def _local(pattern: str) -> list[str]:
    try:
        matches = [pattern] if Path(pattern).exists() else glob.glob(pattern, recursive=True)  # noqa: PTH207 -- it may be absolute
        files = [Path(match) for match in matches if Path(match).is_file()]
        folder = Path(pattern).is_dir()
    except OSError as error:
        raise MissingFile(
            f"it can't be looked at: {error.strerror}", where=pattern, todo="check it and its permissions"
        ) from error
    if not files:
        hint = f"name its files, such as {pattern}/*.root" if folder else "check it"
        raise MissingFile("no file has this name", where=pattern, todo=hint)
    # One spelling for one name: 'a/../x.root' is 'x.root'. A link keeps its name; its bytes tell what it is.
    return [(path.parent.resolve() / path.name).as_uri() for path in files]


def _remote(pattern: str) -> list[str]:
    import fsspec

    with foreign_errors(pattern):
        filesystem, place = fsspec.core.url_to_fs(pattern, skip_instance_cache=True, use_listings_cache=False)
        found = [filesystem.unstrip_protocol(name) for name in filesystem.glob(place)]
    if not found:
        raise MissingFile("no file has such a name", where=pattern, todo="check it")
    return found


def size_of(url: str) -> int:
    """Return how many bytes a file has, without reading it.

    Raises
    ------
    MissingFile
        It isn't there, or its storage doesn't say.
    GatewayUnreachable
        The storage can't be asked now.
    """
    path = local_path(url)
    if path is not None:
        try:
            return path.stat().st_size
        except OSError as error:
            raise MissingFile(f"it can't be looked at: {error.strerror}", where=url) from error
    import fsspec

    with foreign_errors(url):
        filesystem, place = fsspec.core.url_to_fs(url, skip_instance_cache=True, use_listings_cache=False)
        size = filesystem.size(place)
    if size is None:
        raise MissingFile(
            "its storage doesn't say how large it is", where=url, todo="copy it here, or leave --max-size out"
        )
    return int(size)
