"""Damage bytes in a way that can be repeated: a file's name and a number say what is done."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

#: Words that sizes, counts and positions are made wrong with.
WORDS = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\x40\x00\x00\x01", b"\x80\x00\x00\x00")


def mutate(whole: bytes, name: str, number: int) -> tuple[str, bytes]:
    """Return what was done, and the changed bytes; they always differ from `whole`."""
    chance = random.Random(f"{name} {number}")
    while True:
        what, data = chance.choices(tuple(KINDS), tuple(KINDS.values()))[0](whole, chance)
        if data != whole:
            return what, bytes(data)


def changed(whole: bytes, data: bytes) -> set[int]:
    """Return the places of `whole` that `data` has not, or has otherwise."""
    common = min(len(whole), len(data))
    before, after = (np.frombuffer(one, np.uint8, common) for one in (whole, data))
    return {*np.flatnonzero(before != after).tolist(), *range(common, len(whole))}


def flip(whole: bytes, chance: random.Random) -> tuple[str, bytearray]:
    data, at, bit = bytearray(whole), chance.randrange(len(whole)), chance.randrange(8)
    data[at] ^= 1 << bit
    return f"flip bit {bit} of byte {at}", data


def overwrite(whole: bytes, chance: random.Random) -> tuple[str, bytearray]:
    data, at = bytearray(whole), chance.randrange(len(whole) - 4)
    word = chance.choice((*WORDS, chance.randbytes(chance.randrange(1, 5))))
    data[at : at + len(word)] = word
    return f"write {word.hex()} at {at}", data


def cut(whole: bytes, chance: random.Random) -> tuple[str, bytearray]:
    size = chance.randrange(len(whole))
    return f"cut to {size} bytes", bytearray(whole[:size])


def lengthen(whole: bytes, chance: random.Random) -> tuple[str, bytearray]:
    at, size = chance.choice((len(whole), chance.randrange(len(whole)))), chance.randrange(1, 600)
    return f"insert {size} bytes at {at}", bytearray(whole[:at] + chance.randbytes(size) + whole[at:])


def swap(whole: bytes, chance: random.Random) -> tuple[str, bytearray]:
    data, size = bytearray(whole), _size(whole, chance)
    one, two = _places(whole, size, chance)
    data[one : one + size], data[two : two + size] = whole[two : two + size], whole[one : one + size]
    return f"swap {size} bytes at {one} with those at {two}", data


def zero(whole: bytes, chance: random.Random) -> tuple[str, bytearray]:
    data, size = bytearray(whole), _size(whole, chance)
    at = chance.randrange(len(whole) - size)
    data[at : at + size] = bytes(size)
    return f"zero {size} bytes at {at}", data


def duplicate(whole: bytes, chance: random.Random) -> tuple[str, bytearray]:
    data, size = bytearray(whole), _size(whole, chance)
    one, two = _places(whole, size, chance)
    data[two : two + size] = whole[one : one + size]
    return f"copy {size} bytes at {one} over those at {two}", data


def _size(whole: bytes, chance: random.Random) -> int:
    return min(chance.choice((8, 16, 64, 512, 4096)), len(whole) // 4)


def _places(whole: bytes, size: int, chance: random.Random) -> tuple[int, int]:
    """Choose two places that don't overlap."""
    one = chance.randrange(len(whole) - 2 * size)
    return one, chance.randrange(one + size, len(whole) - size + 1)


#: What is done, and how often in proportion: small damage is the hardest to see.
KINDS: dict[Callable[[bytes, random.Random], tuple[str, bytearray]], int] = {
    flip: 6,
    overwrite: 4,
    cut: 1,
    lengthen: 1,
    swap: 2,
    zero: 1,
    duplicate: 2,
}
