"""Read the JSON of a request strictly: nothing in it that two readers could take for two things."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

from sitecfg.errors import UsageError

__all__ = ["strictly"]

#: How deeply a body may be nested; everything that reads and writes it later has a limit of its own.
DEPTH = 64
#: How JSON spells what may be a NUL, or half of a pair. Few bodies have any; only those are looked through.
_SUSPECT = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def strictly(raw: bytes) -> Any:
    """Return the value that a body holds.

    Raises
    ------
    UsageError
        It is not JSON in UTF-8, names a key twice, has a number that is none (``NaN``) or is too large, is nested too
        deeply, or has a text that no database keeps (with a NUL, or half of a surrogate pair).
    """
    try:
        value = json.loads(
            raw.decode(), object_pairs_hook=_object, parse_constant=_constant, parse_float=_float
        )
        if raw.count(b"[") + raw.count(b"{") > DEPTH or _SUSPECT.search(raw):
            _look_through(value)
    except RecursionError as error:
        raise _malformed("it is nested too deeply") from error
    except ValueError as error:
        raise _malformed(str(error)) from error
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("it names a key twice")
    return made


def _constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _float(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number


def _look_through(value: Any) -> None:
    waiting = [(1, value)]
    while waiting:
        depth, one = waiting.pop()
        if isinstance(one, str):
            if "\0" in one:
                raise ValueError("a text has a NUL in it")
            one.encode()
            continue
        if depth > DEPTH:
            raise ValueError("it is nested too deeply")
        inside = [*one, *one.values()] if isinstance(one, dict) else one
        waiting += [(depth + 1, each) for each in inside if isinstance(each, (str, list, dict))]


def _malformed(why: str) -> UsageError:
    return UsageError(f"the request is malformed: {why}", todo="send JSON as RFC 8259 has it")
