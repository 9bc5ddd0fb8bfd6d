"""Quantities as people write them: ``"1 GB"``, ``"30 s"``, ``"20 MB/s"``.

Sizes are whole bytes, times are seconds, rates are bytes per second. Decimal units (kB, MB, GB) are powers
of 1000 and binary units (KiB, MiB, GiB) powers of 1024, as their names say. A bare number is already in
bytes, seconds or bytes per second. Spelling is strict: ``"1 Gb"`` (bits?) and ``"5 m"`` (minutes? metres?)
are refused with the spelling that was probably meant.
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil
from typing import Annotated, Final

from pydantic import BeforeValidator

from sitecfg.errors import BadUnit

__all__ = [
    "Bytes",
    "Rate",
    "Seconds",
    "format_bytes",
    "format_seconds",
    "parse_bytes",
    "parse_rate",
    "parse_seconds",
]

_DECIMAL: Final = {"B": 1} | {f"{prefix}B": 1000**n for n, prefix in enumerate("kMGTPE", 1)}
_BYTES: Final = (
    _DECIMAL
    | {"KB": 1000}
    | {f"{prefix}iB": 1024**n for n, prefix in enumerate(("K", "M", "G", "T", "P", "E"), 1)}
)
_SECONDS: Final = {
    "us": Fraction(1, 1_000_000),
    "ms": Fraction(1, 1000),
    "s": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
    "d": Fraction(86400),
}
_LONG_WORDS: Final = {
    "second": "s",
    "sec": "s",
    "minute": "min",
    "m": "min",
    "hour": "h",
    "day": "d",
    "byte": "B",
}
_LARGEST: Final = 2**63 - 1

# Digits are bounded: "1e999999999 B" must be an error, not a computation.
_TERMS: Final = re.compile(r"[0-9.]+(?:[eE][+-]?[0-9]{1,2})?\s*[A-Za-z]*\s*", re.ASCII)
_TERM: Final = re.compile(
    r"([0-9]{1,24}(?:\.[0-9]{0,24})?|\.[0-9]{1,24})(?:[eE]([+-]?[0-9]{1,2}))?\s*([A-Za-z]*)", re.ASCII
)


def parse_bytes(text: str | float) -> int:
    """Read a size, ``"1 GB"``, ``"2 GiB"`` or a number of bytes; a broken byte is rounded up.

    Raises
    ------
    BadUnit
        It can't be read, is negative or not finite, or doesn't fit into 63 bits.
    """
    amount = _plain_number(text, "a size such as '1 GB'")
    if amount is None:
        amount = _term(str(text), _BYTES, "a size such as '1 GB'")
    if amount > _LARGEST:
        raise BadUnit(f"{text!r} is more than 2^63 bytes", todo="check the unit")
    return ceil(amount)


def parse_seconds(text: str | float) -> float:
    """Read a time, ``"30 s"``, ``"1 h 30 min"`` or a number of seconds.

    Raises
    ------
    BadUnit
        It can't be read, is negative or not finite.
    """
    amount = _plain_number(text, "a time such as '30 s'")
    if amount is None:
        terms = _TERMS.findall(str(text).strip())
        if (
            not terms
            or "".join(terms) != str(text).strip()
            or (len(terms) > 1 and not all(map(_has_unit, terms)))
        ):
            raise _unreadable(str(text), "a time such as '30 s'")
        amount = sum((_term(term, _SECONDS, "a time such as '30 s'") for term in terms), Fraction(0))
    return float(amount)


def parse_rate(text: str | float) -> float:
    """Read a rate, ``"20 MB/s"``, ``"5 TB/d"`` or a number of bytes per second; returns bytes per second.

    Raises
    ------
    BadUnit
        It can't be read, is negative or not finite.
    """
    amount = _plain_number(text, "a rate such as '20 MB/s'")
    if amount is None:
        size, slash, time = str(text).partition("/")
        if not slash:
            raise _unreadable(str(text), "a rate such as '20 MB/s'", near=f"{str(text).strip()}/s")
        per = _SECONDS.get(time.strip())
        if per is None:
            raise _unreadable(str(text), "a rate such as '20 MB/s'", near=_near_unit(time.strip(), _SECONDS))
        amount = _term(size, _BYTES, "a rate such as '20 MB/s'") / per
    return float(amount)


def format_bytes(size: float) -> str:
    """Write a size for people, at most four figures: ``1.25 GB``. ``parse_bytes`` reads it back."""
    for unit, factor in reversed(_DECIMAL.items()):
        if size >= 0.99995 * factor and unit != "B":
            return f"{_figures(size / factor)} {unit}"
    return f"{_figures(size)} B"


def format_seconds(seconds: float) -> str:
    """Write a time for people, its two largest units: ``1 h 30 min``, ``2.5 s``, ``12 ms``."""
    for unit, smaller in (("d", "h"), ("h", "min"), ("min", "s")):
        per_unit = int(_SECONDS[unit] / _SECONDS[smaller])
        whole, rest = divmod(round(seconds / _SECONDS[smaller]), per_unit)
        if whole and seconds >= 0.9995 * _SECONDS[unit]:
            return f"{whole} {unit} {rest} {smaller}" if rest else f"{whole} {unit}"
    for unit in ("s", "ms"):
        if seconds >= _SECONDS[unit]:
            return f"{_figures(seconds / float(_SECONDS[unit]))} {unit}"
    return f"{_figures(seconds * 1e6)} us" if seconds else "0 s"


def _plain_number(value: str | float, wanted: str) -> Fraction | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise BadUnit(f"{value!r} is not {wanted}", todo=f"write {wanted}")
    if isinstance(value, str):
        return None
    if not 0 <= value <= _LARGEST:  # which nan isn't
        raise BadUnit(f"{value!r} is not {wanted}", todo="write a number from 0 to 2^63")
    return Fraction(value)


def _term(text: str, units: dict[str, int] | dict[str, Fraction], wanted: str) -> Fraction:
    match = _TERM.fullmatch(text.strip())
    if match is None:
        raise _unreadable(text, wanted)
    number, exponent, unit = match.groups()
    factor = units.get(unit) if unit else 1
    if factor is None:
        raise _unreadable(text, wanted, near=_near_unit(unit, units))
    return (
        Fraction(number if not number.startswith(".") else "0" + number)
        * Fraction(10) ** int(exponent or 0)
        * factor
    )


def _has_unit(term: str) -> bool:
    return term.strip()[-1:].isalpha()


def _unreadable(text: str, wanted: str, *, near: str | None = None) -> BadUnit:
    return BadUnit(f"{text!r} is not {wanted}", todo=f"did you mean {near!r}?" if near else f"write {wanted}")


def _near_unit(unit: str, units: dict[str, int] | dict[str, Fraction]) -> str | None:
    word = _LONG_WORDS.get(unit.lower().rstrip("s")) or _LONG_WORDS.get(unit.lower())
    if word in units:
        return word
    spelled = [known for known in units if known.lower() in {unit.lower(), f"{unit}b".lower()}]
    return spelled[0] if spelled else None


def _figures(value: float) -> str:
    return f"{value:.4g}" if abs(value) < 9999.5 else f"{value:.0f}"


#: A size in bytes; settings may spell it ``"1 GB"``.
Bytes = Annotated[int, BeforeValidator(parse_bytes)]
#: A time in seconds; settings may spell it ``"30 s"``.
Seconds = Annotated[float, BeforeValidator(parse_seconds)]
#: A rate in bytes per second; settings may spell it ``"20 MB/s"``.
Rate = Annotated[float, BeforeValidator(parse_rate)]
