"""Baskets that are unpacked many at once, by our own code or by libraries, against each by itself."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.rootio.format.blocks import Compression, pack
from grid.rootio.format.unpack import unpack_covered
from grid.rootio.verbatim import blocks
from grid.rootio.verbatim.blocks import Unsound, follow, seals, unpack
from kernels.lz4blocks import SLACK
from sitecfg.errors import CorruptFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

CODECS = ("none", "zlib:1", "lzma:1", "lz4:1", "lz4:9", "zstd:1")
contents = st.one_of(
    st.binary(max_size=60),
    st.builds(lambda one, times: one * times, st.binary(min_size=1, max_size=30), st.integers(1, 400)),
)


@pytest.fixture(params=["by our own code", "by libraries"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    importlib.import_module("numba")
    if request.param == "by libraries":
        monkeypatch.setattr(blocks, "light", lambda _: True)
    return str(request.param)


class Baskets:
    """Payloads behind each other, some bytes apart."""

    def __init__(self, payloads: Sequence[bytes], sizes: Sequence[int]) -> None:
        lengths = np.array([len(one) for one in payloads], np.int64)
        self.begins = np.cumsum(lengths + 3) - lengths
        self.ends, self.sizes = self.begins + lengths, np.array(sizes, np.int64)
        self.buffer = bytearray(b"".join(b"..." + one for one in payloads) + b"...")

    @property
    def data(self) -> NDArray[np.uint8]:
        return np.frombuffer(self.buffer, np.uint8)

    def where(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        return self.begins, self.ends, self.sizes

    def unpacked(self) -> tuple[list[bytes], int]:
        found = follow(self.data, *self.where())
        out = unpack(self.data, memoryview(self.buffer), *self.where(), found)
        rows = zip(out.begins.tolist(), self.sizes.tolist(), strict=True)
        return [out.data[begin : begin + size].tobytes() for begin, size in rows], out.covered

    def one_by_one(self) -> tuple[list[bytes], int]:
        rows = zip(*(column.tolist() for column in self.where()), strict=True)
        found = [unpack_covered(memoryview(self.buffer)[begin:end], size, "") for begin, end, size in rows]
        return [data for data, _ in found], sum(covered for _, covered in found)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(contents, st.sampled_from(CODECS)), max_size=8))
def test_what_was_packed_is_unpacked(drawn: list[tuple[bytes, str]]) -> None:
    importlib.import_module("numba")
    made = Baskets(
        [pack(data, Compression.parse(codec)) for data, codec in drawn], [len(d) for d, _ in drawn]
    )
    assert made.unpacked() == made.one_by_one()
    assert made.unpacked()[0] == [data for data, _ in drawn]


def test_several_blocks_and_several_codecs_in_one_basket(way: str) -> None:
    text = np.random.default_rng(1).integers(0, 4, 50_000, dtype=np.uint8).tobytes()
    parts = [
        pack(text, Compression.parse(codec)) for codec in ("lz4:1", "zlib:1", "lz4:1", "zstd:1", "lzma:1")
    ]
    made = Baskets([b"".join(parts), parts[0], b"not packed"], [len(text) * len(parts), len(text), 10])
    assert made.unpacked() == made.one_by_one()
    assert made.unpacked()[0] == [text * len(parts), text, b"not packed"]
    del way


def test_each_flipped_bit_of_lz4_is_found(way: str) -> None:
    del way
    text = b"a text that comes again, and again: a text that comes again." * 3
    packed = pack(text, Compression.parse("lz4:1"))
    for bit in range(8 * len(packed)):
        made = Baskets([packed, packed, packed], [len(text)] * 3)
        made.buffer[made.begins[1] + bit // 8] ^= 1 << bit % 8
        if 16 <= bit < 24:
            continue  # the method's version, which nothing reads
        with pytest.raises(Unsound) as refused:
            made.unpacked()
        assert refused.value.row == 1
        with pytest.raises(CorruptFile):
            made.one_by_one()


@pytest.mark.parametrize("codec", CODECS[1:])
@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_basket_that_is_cut_is_refused(codec: str, cut: int) -> None:
    text = bytes(range(200)) * 4
    packed = pack(text, Compression.parse(codec))
    made = Baskets([packed, packed[:-cut], packed], [len(text)] * 3)
    with pytest.raises(Unsound) as refused:
        made.unpacked()
    assert refused.value.row == 1


def test_there_is_room_behind_for_what_is_written_too_far() -> None:
    assert blocks._SLACK >= SLACK


def test_seals_cover_what_they_say(way: str) -> None:
    del way
    text = b"nothing new " * 50
    packed = [pack(text, Compression.parse(codec)) for codec in ("lz4:1", "zstd:1", "lz4:1")]
    made = Baskets(packed, [len(text)] * 3)
    found = follow(made.data, *made.where())
    assert seals(made.data, memoryview(made.buffer), found) == len(packed[0]) + len(packed[2]) - 2 * 9
    made.buffer[made.ends[2] - 1] ^= 1
    with pytest.raises(Unsound, match="xxh64") as refused:
        seals(made.data, memoryview(made.buffer), found)
    assert refused.value.row == 2


def test_a_basket_without_blocks_that_says_it_has_none_is_taken_as_it_is() -> None:
    made = Baskets([b"", b"plain"], [0, 5])
    assert made.unpacked() == ([b"", b"plain"], 0)
