from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from isal import isal_zlib

from kernels import adler, reference
from tests.kernels.draws import examples, refusals

if TYPE_CHECKING:
    from collections.abc import Callable

VALUES = st.builds(
    lambda low, high: high << 16 | low, st.integers(0, 65520), st.integers(0, 65520)
) | st.just(1)


@examples
@given(st.binary(max_size=300), VALUES)
def test_adler32_agrees_with_everyone(data: bytes, value: int) -> None:
    wanted = zlib.adler32(data, value)
    assert adler.adler32(data, value) == isal_zlib.adler32(data, value) == wanted
    assert reference.adler32(data, value) == wanted


def test_an_empty_piece_changes_nothing() -> None:
    assert adler.adler32(b"") == 1 == zlib.adler32(b"")
    assert adler.adler32(b"", 0x12345678) == 0x12345678 == zlib.adler32(b"", 0x12345678)


@pytest.mark.parametrize("size", [1, 5551, 5552, 5553, 11104, 100_003])
@pytest.mark.parametrize("byte", [0, 1, 255])
def test_long_and_extreme_bytes(size: int, byte: int) -> None:
    data = bytes([byte]) * size
    for value in (1, 0, 65520 << 16 | 65520):
        assert adler.adler32(data, value) == zlib.adler32(data, value) == isal_zlib.adler32(data, value)


@examples
@given(
    st.binary(max_size=60),
    st.binary(max_size=60),
    VALUES,
)
def test_pieces_combine(first: bytes, second: bytes, value: int) -> None:
    start = zlib.adler32(first, value)
    got = adler.combine(start, zlib.adler32(second), len(second))
    assert (
        got
        == zlib.adler32(first + second, value)
        == reference.combine(start, zlib.adler32(second), len(second))
    )


def test_pieces_longer_than_four_gigabytes_combine() -> None:
    zeros, length = zlib.adler32(b"") | (5 * 2**32 % 65521) << 16, 5 * 2**32  # n zeros: low 1, high n
    assert adler.combine(1, zeros, length) == zeros
    assert adler.combine(zlib.adler32(b"ab"), zeros, length) & 0xFFFF == zlib.adler32(b"ab") & 0xFFFF


def test_any_contiguous_buffer_is_bytes() -> None:
    numbers = np.arange(20, dtype=np.float32).reshape(4, 5)
    wanted = zlib.adler32(numbers.tobytes())
    for data in (numbers, numbers.tobytes(), bytearray(numbers.tobytes()), memoryview(numbers.tobytes())):
        assert adler.adler32(data) == wanted
    with pytest.raises(ValueError, match="contiguous"):
        adler.adler32(numbers[:, ::2])


def test_spelling_has_eight_digits() -> None:
    assert adler.hex8(0x0011E60398 & 0xFFFFFFFF) == "11e60398"
    assert adler.hex8(1) == "00000001"


@refusals(
    (lambda: adler.adler32(b"x", -1), "value must have 32 bits"),
    (lambda: adler.adler32(b"x", 2**32), "value must have 32 bits"),
    (lambda: adler.combine(-1, 1, 0), "first must have 32 bits"),
    (lambda: adler.combine(1, 2**32, 0), "second must have 32 bits"),
    (lambda: adler.combine(1, 1, -1), "length must not be negative"),
    (lambda: adler.hex8(2**32), "value must have 32 bits"),
)
def test_wrong_arguments_are_refused_in_words(call: Callable[[], object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        call()
