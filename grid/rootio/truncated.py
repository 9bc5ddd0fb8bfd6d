"""Unpack ``Double32_t`` and ``Float16_t``: numbers that are stored with fewer bits, by rules in a title.

A title such as ``x[3]/d[0,100,10]`` says that values between 0 and 100 are stored as integers of 10
bits; ``[0,0,7]`` keeps 7 bits of the mantissa; without brackets a ``Double32_t`` is stored as a float
and a ``Float16_t`` with 12 bits of mantissa.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Packing", "packing_of"]

_BRACKETS: Final = re.compile(r"\[([^\]]*)\]")
#: ROOT's numbers for these types as members of a class, as such, as arrays and as counted arrays.
_DOUBLE32, _FLOAT16 = 9, 19
_PI: Final = (
    ("2pi", 2 * math.pi),
    ("2*pi", 2 * math.pi),
    ("twopi", 2 * math.pi),
    ("pi/2", math.pi / 2),
    ("pi/4", math.pi / 4),
    ("pi", math.pi),
)
#: A float's exponent, and a mantissa of up to 14 bits below its sign.
_SPLIT: Final = np.dtype([("exponent", "u1"), ("mantissa", ">u2")])


@dataclass(frozen=True, slots=True)
class Packing:
    """How one value is stored.

    Parameters
    ----------
    dtype
        Of the values in memory: float64 for ``Double32_t``, float32 for ``Float16_t``.
    low, factor
        A stored integer, divided by `factor`, is the value's distance from `low`; 0: there is no range.
    bits
        Bits of the mantissa where there is no range; 0: a whole float.
    """

    dtype: np.dtype[Any]
    low: float = 0.0
    factor: float = 0.0
    bits: int = 0

    @property
    def width(self) -> int:
        """Bytes of a stored value."""
        return 3 if self.bits else 4

    @property
    def simple(self) -> bool:
        """Whether a value is stored as a float."""
        return not self.bits and not self.factor

    def unpack(self, data: NDArray[np.uint8]) -> NDArray[Any]:
        """Return the values that bytes (a multiple of the width) hold, exactly as ROOT reads them."""
        if self.factor:
            return (data.view(">u4").astype(np.float64) / self.factor + self.low).astype(self.dtype)
        if not self.bits:
            return data.view(">f4").astype(self.dtype)
        stored = data.view(_SPLIT)
        mantissa = stored["mantissa"].astype(np.uint32)
        words = stored["exponent"].astype(np.uint32) << np.uint32(23)
        words |= (mantissa & np.uint32((1 << (self.bits + 1)) - 1)) << np.uint32(23 - self.bits)
        # the sign is the bit above the mantissa's carry; it flips whatever the exponent's shift left there
        words ^= ((mantissa >> np.uint32(self.bits + 1)) & np.uint32(1)) << np.uint32(31)
        return words.view(np.float32).astype(self.dtype)


def packing_of(branch: Any) -> Packing | str | None:
    """Return how uproot's `branch` packs its values; ``None`` if it doesn't, or the reason why it can't be told."""
    leaves = branch.member("fLeaves")
    if len(leaves) != 1:
        return None
    streamer = branch.streamer
    kind = streamer.member("fType", none_if_missing=True) if streamer is not None else None
    if leaves[0].classname in {"TLeafD32", "TLeafF16"}:
        double, title = leaves[0].classname == "TLeafD32", str(leaves[0].member("fTitle"))
    elif isinstance(kind, int) and 0 < kind < 60 and kind % 20 in {_DOUBLE32, _FLOAT16}:
        double, title = kind % 20 == _DOUBLE32, str(streamer.member("fTitle"))
    else:
        return None
    dtype = np.dtype(np.float64 if double else np.float32)
    ranges = [text for text in _BRACKETS.findall(title) if "," in text]
    if not ranges:
        return Packing(dtype, bits=0 if double else 12)
    try:
        return _ranged(dtype, ranges[0])
    except ValueError:
        return f"the range of its packed numbers can't be understood: [{ranges[0]}]"


def _ranged(dtype: np.dtype[Any], text: str) -> Packing:
    low_text, high_text, *rest = text.split(",")
    bits = int(rest[0]) if rest else 32
    if not 2 <= bits <= 32 or len(rest) > 1:
        raise ValueError(text)
    low, high = _number(low_text), _number(high_text)
    if low < high:
        return Packing(dtype, low, (1 << bits if bits < 32 else 0xFFFFFFFF) / (high - low))
    if bits < 15:
        return Packing(dtype, bits=bits)
    return Packing(dtype, bits=0 if dtype == np.float64 else 12)


def _number(text: str) -> float:
    word = text.strip().lower()
    for name, value in _PI:
        if name in word:
            return -value if word.startswith("-") else value
    return float(word)
