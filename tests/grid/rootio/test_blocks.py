"""Packed blocks: what comes out is what went in, and a flipped bit never passes for something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid.rootio.format.blocks import Compression, pack
from grid.rootio.format.unpack import unpack
from sitecfg.errors import CorruptFile, UnsupportedContent

CODECS = ["zlib:1", "lzma:2", "lz4:4", "zstd:5"]
#: Long enough, and regular enough, to be packed by each of them.
DATA = bytes(range(256)) * 3 + b"0123456789" * 40


@pytest.mark.parametrize("codec", CODECS)
@given(data=st.binary(max_size=2000), times=st.integers(1, 20))
def test_what_is_packed_comes_out_again(codec: str, data: bytes, times: int) -> None:
    packed = pack(data * times, Compression.parse(codec))
    assert unpack(memoryview(packed), len(data) * times, "here") == data * times


@pytest.mark.parametrize("codec", CODECS)
def test_every_flipped_bit_is_found(codec: str) -> None:
    packed = pack(DATA, Compression.parse(codec))
    assert len(packed) < len(DATA)
    passed = []
    for bit in range(8 * len(packed)):
        broken = bytearray(packed)
        broken[bit // 8] ^= 1 << bit % 8
        try:
            found = unpack(memoryview(broken), len(DATA), "here")
        except (CorruptFile, UnsupportedContent):
            continue
        # Some bits mean nothing, such as a level in a head; then the data must be right all the same.
        if found != DATA:
            passed.append(bit)
    assert passed == []
