from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import lz4.block
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernels import lz4blocks
from tests.kernels.draws import examples

if TYPE_CHECKING:
    from collections.abc import Sequence

SLACK = lz4blocks.SLACK
#: Stretches that come again, near and far, and some that do not.
texts = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.builds(lambda one, times: one * times, st.binary(min_size=1, max_size=20), st.integers(1, 60)),
    ),
    max_size=8,
).map(b"".join)


def packed(data: bytes) -> bytes:
    return bytes(lz4.block.compress(data, store_size=False))


def theirs(block: bytes, size: int) -> bytes | None:
    """What the library unpacks a block to, or None if it refuses it."""
    try:
        data = bytes(lz4.block.decompress(block, uncompressed_size=size))
    except (lz4.block.LZ4BlockError, ValueError):
        return None
    return data if len(data) == size else None


def ours(blocks: Sequence[bytes], sizes: Sequence[int], room: int = SLACK) -> tuple[int, list[bytes]]:
    ends = np.cumsum([len(block) for block in blocks], dtype=np.int64)
    begins = ends - np.array([len(block) for block in blocks], np.int64)
    bounds = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    out = np.full(int(bounds[-1]) + room, 0xA5, np.uint8)
    data = np.frombuffer(b"".join(blocks), np.uint8)
    bad = lz4blocks.unpack(data, begins, ends, out, bounds[:-1], np.diff(bounds))
    assert (out[bounds[-1] + SLACK :] == 0xA5).all(), "it wrote too far"
    return bad, [out[begin:end].tobytes() for begin, end in itertools.pairwise(bounds)]


@examples
@given(st.lists(texts, max_size=5))
def test_what_the_library_packs_is_unpacked(whole: list[bytes]) -> None:
    bad, found = ours([packed(data) for data in whole], [len(data) for data in whole], SLACK + 50)
    assert bad == -1
    assert found == whole


@pytest.mark.parametrize("size", [0, 1, 5, 12, 13, 15, 16, 270, 4096, 300_000])
@pytest.mark.parametrize("period", [1, 2, 7, 8, 15, 16, 17, 1000, 70_000])
def test_any_distance(size: int, period: int) -> None:
    data = np.resize(np.random.default_rng(period).integers(0, 256, period, dtype=np.uint8), size).tobytes()
    assert ours([packed(data)], [size]) == (-1, [data])


@examples
@given(texts, st.data())
def test_damage_is_refused_when_the_library_refuses_it(whole: bytes, draw: st.DataObject) -> None:
    block = bytearray(packed(whole))
    for _ in range(draw.draw(st.integers(0, 3))):
        block[draw.draw(st.integers(0, len(block) - 1))] = draw.draw(st.integers(0, 255))
    del block[draw.draw(st.integers(0, len(block))) :]
    size = max(0, len(whole) + draw.draw(st.integers(-3, 3)))
    agree(bytes(block), size)


@examples
@given(st.binary(max_size=60), st.integers(0, 80))
@example(b"", 0)
@example(b"\0", 0)
@example(b"\x10a", 1)
@example(b"\xf0" + b"\xff" * 50, 80)
@example(b"\x8fabcdefgh\x08\0\0\x40wxyz", 31)
@example(b"\x8fabcdefgh\x08\0\0\x50vwxyz", 32)
def test_anything_is_refused_when_the_library_refuses_it(block: bytes, size: int) -> None:
    agree(block, size)


def agree(block: bytes, size: int) -> None:
    bad, found = ours([block], [size])
    wanted = theirs(block, size)
    assert (bad == -1) == (wanted is not None)
    if wanted is not None:
        assert found == [wanted]


def test_it_stops_at_the_first_that_is_unsound() -> None:
    data = b"a part of it" * 20
    bad, found = ours([packed(data), b"\xff", packed(data)], [len(data), 7, len(data)])
    assert bad == 1
    assert found[0] == data


@pytest.mark.parametrize(
    ("begin", "end", "place", "size"),
    [(-1, 2, 0, 0), (3, 2, 0, 0), (0, 11, 0, 0), (0, 1, -1, 2), (0, 1, 0, -1), (0, 1, 0, 21), (0, 1, 21, 0)],
)
def test_blocks_and_places_lie_inside(begin: int, end: int, place: int, size: int) -> None:
    out, data = np.zeros(20 + SLACK, np.uint8), np.zeros(10, np.uint8)
    begins, ends, places, sizes = (np.array([one]) for one in (begin, end, place, size))
    with pytest.raises(ValueError, match="block 0 lies at"):
        lz4blocks.unpack(data, begins, ends, out, places, sizes)


def test_places_ascend() -> None:
    out, two = np.zeros(20 + SLACK, np.uint8), np.array([0, 0])
    with pytest.raises(ValueError, match="block 1 lies at"):
        lz4blocks.unpack(np.zeros(10, np.uint8), two, two + 1, out, two, np.array([1, 1]))


def test_out_is_written_to() -> None:
    one = np.array([0])
    with pytest.raises(ValueError, match="out must be"):
        lz4blocks.unpack(np.zeros(1, np.uint8), one, one, np.zeros((2, 20), np.uint8)[:, ::2], one, one)
