"""What makes a trigger table legal; all that doesn't is found at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from sitecfg import names
from sitecfg.errors import BadName, TriggerTableError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["MAX_STREAMS", "check", "pairs", "refusal"]

#: A stream mask is one 64-bit word.
MAX_STREAMS: Final = 64
_KEYS: Final = ("name", "tag", "description", "streams", "prescales", "origin")
_LARGEST: Final = 2**53  # the largest integer that every JSON reader gives back exactly
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")
_TABLE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", re.ASCII)


def check(values: Mapping[str, Any], *, where: str) -> None:
    """Refuse what is no table.

    Raises
    ------
    TriggerTableError
        Every problem as ``key: what``; ``facts["problems"]`` has them one by one.
    """
    found = list(_problems(values))
    if found:
        facts = [{"key": key, "what": what} for key, what in found]
        raise refusal([f"{key}: {what}" for key, what in found], where, "put it right there", facts)


def refusal(lines: Sequence[str], where: str, todo: str, facts: list[dict[str, Any]]) -> TriggerTableError:
    """Make one error out of one or several problems; the text stops after twenty, the facts have all."""
    what = lines[0]
    if len(lines) > 1:
        more = [f"and {len(lines) - 20} more"] if len(lines) > 20 else []
        what = "\n  ".join([f"{len(lines)} problems:", *lines[:20], *more]) + "\n"
    return TriggerTableError(what, where=where, todo=todo, problems=facts)


def pairs(streams: list[Any]) -> dict[str, Any] | None:
    """Turn a list of (stream, globs) into a dict that keeps its order; None if it is no such list."""
    if not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in streams):
        return None
    made = {pair[0]: pair[1] for pair in streams if isinstance(pair[0], str)}
    return made if len(made) == len(streams) else None


def _problems(values: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in values:
        if key not in _KEYS:
            close = names.near(key, _KEYS) or [f"one of {', '.join(_KEYS)}"]
            yield key, f"there is no such key; near: {', '.join(close)}"
    name, tag, origin = values.get("name"), values.get("tag"), values.get("origin")
    if not isinstance(name, str) or not _TABLE_NAME.fullmatch(name):
        yield "name", "a name of 1 to 100 characters A-Z a-z 0-9 _ . - is needed"
    if not _whole_number(tag, at_least=0):
        yield "tag", "a whole number is needed, 0 or more"
    description = values.get("description", "")
    if not isinstance(description, str) or _SURROGATE.search(description):
        yield "description", "has to be text"
    yield from _stream_problems(values.get("streams"))
    yield from _prescale_problems(values.get("prescales", {}))
    if origin is not None and (not _words(origin) or len(set(origin)) < len(origin)):
        yield "origin", "has to be a list of path names, each once"


def _stream_problems(streams: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(streams, Mapping) or not streams:
        yield "streams", 'at least one stream is needed, written NAME = ["HLT_...", ...]'
        return
    if len(streams) > MAX_STREAMS:
        yield "streams", f"these are {len(streams)}; at most {MAX_STREAMS} fit into a mask"
    for stream, globs in streams.items():
        try:
            names.check_stream(str(stream))
        except BadName as error:
            yield f"streams.{stream}", error.what
        if not _words(globs) or not globs:
            yield f"streams.{stream}", "a list of at least one path name or glob is needed"


def _prescale_problems(prescales: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(prescales, Mapping) or not _words(list(prescales)):
        yield "prescales", 'has to be a section of "PATH" = NUMBER'
        return
    for path, factor in prescales.items():
        if not _whole_number(factor, at_least=1):
            yield (
                f"prescales.{path}",
                "a whole number is needed, 1 or more; to switch a path off, leave it out",
            )


def _whole_number(value: Any, *, at_least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and at_least <= value <= _LARGEST


def _words(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(_word(word) for word in value)


def _word(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()
