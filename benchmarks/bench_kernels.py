"""Each kernel against numpy (adler32 also against zlib and isa-l), on the same input, with the same answer."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import lz4.block
import numpy as np
import pytest
import xxhash
from isal import isal_zlib

from kernels import (
    adler,
    bits,
    content,
    fingerprint,
    jagged,
    lz4blocks,
    prescale,
    reference,
    rows,
    unique,
    xxh64,
)
from kernels.warm import warm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray
    from pytest_benchmark.fixture import BenchmarkFixture

WAYS = pytest.mark.parametrize("way", ["kernels", "numpy"])
PATHS = 150
STREAMS = 12


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    warm()


@pytest.fixture(scope="module")
def events(scale: float) -> int:
    return max(1000, int(400_000 * scale))


@pytest.fixture(scope="module")
def fired(events: int) -> NDArray[np.bool_]:
    """Every path's decision; some fire often, most seldom, as in a menu."""
    rates = np.random.default_rng(1).exponential(0.03, PATHS)
    return np.random.default_rng(2).random((events, PATHS), dtype=np.float32) < rates


@pytest.fixture(scope="module")
def words(fired: NDArray[np.bool_]) -> NDArray[np.uint64]:
    return bits.pack_bits(fired)


@pytest.fixture(scope="module")
def masks(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Stream masks: each path is in one or two of the streams."""
    return bits.stream_masks(words, streams())


@pytest.fixture(scope="module")
def identity(events: int) -> list[NDArray[Any]]:
    """Run, section and event, as the farm's inputs hold them: sections in order, events in none."""
    rng = np.random.default_rng(3)
    event = np.arange(events, dtype=np.uint64)
    section = (event // 500).astype(np.uint32)
    order = rng.permutation(events).astype(np.float64) + section.astype(np.float64) * 10.0 * events
    shuffled = event[np.argsort(order)]
    return [np.full(events, 316_239, dtype=np.uint32), section, shuffled]


@pytest.fixture(scope="module")
def keys(identity: list[NDArray[Any]]) -> NDArray[np.uint64]:
    return fingerprint.event_keys(identity)


@pytest.fixture(scope="module")
def jets(events: int) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Bytes of a jagged branch of floats, the events' offsets, and a selection of a quarter of the events."""
    rng = np.random.default_rng(4)
    offsets = np.concatenate(([0], np.cumsum(4 * rng.poisson(6, events))))
    data = rng.integers(0, 256, int(offsets[-1]), dtype=np.uint8)
    return data, offsets, np.flatnonzero(rng.random(events) < 0.25)


def streams() -> NDArray[np.uint64]:
    rng = np.random.default_rng(5)
    owners: list[list[int]] = [[] for _ in range(STREAMS)]
    for path in range(PATHS):
        for stream in rng.choice(STREAMS, rng.integers(1, 3), replace=False):
            owners[stream].append(path)
    return np.stack([bits.mask_words(owned, PATHS) for owned in owners])


@dataclass(frozen=True)
class Blocks:
    """LZ4 blocks one behind the other, as many and as small as the baskets of a NanoAOD."""

    data: NDArray[np.uint8]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    places: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def each(self) -> Iterator[tuple[memoryview, int]]:
        view = self.data.data
        bounds = zip(self.begins.tolist(), self.ends.tolist(), self.sizes.tolist(), strict=True)
        return ((view[begin:end], size) for begin, end, size in bounds)


@pytest.fixture(scope="module")
def blocks(scale: float) -> Blocks:
    chance = np.random.default_rng(9)
    size, number = 16_000, max(4, int(4000 * scale))
    # floats of few mantissa bits, as experiments write them
    values = [chance.exponential(20, size // 4).astype("f4").view("u4") & 0xFFFFE000 for _ in range(number)]
    packed = [lz4.block.compress(one.astype("u4").tobytes(), store_size=False) for one in values]
    ends = np.cumsum([len(one) for one in packed])
    sizes = np.full(number, size)
    begins = ends - np.array([len(one) for one in packed])
    return Blocks(np.frombuffer(b"".join(packed), np.uint8), begins, ends, np.cumsum(sizes) - sizes, sizes)


def compare(
    benchmark: BenchmarkFixture,
    way: str,
    n_bytes: int,
    ways: dict[str, Callable[[], Any]],
    judge: str = "numpy",
) -> None:
    """Time one way, and hold its answer against the judge's."""
    benchmark.extra_info.update(peer=way, bytes=n_bytes)
    answer, wanted = benchmark(ways[way]), ways[judge]()
    if not isinstance(answer, (tuple, list)):
        answer, wanted = [answer], [wanted]
    for mine, other in zip(answer, wanted, strict=True):
        np.testing.assert_array_equal(mine, other)


@WAYS
def test_pack_bits(benchmark: BenchmarkFixture, way: str, fired: NDArray[np.bool_]) -> None:
    ways = {"kernels": lambda: bits.pack_bits(fired), "numpy": lambda: reference.pack_bits(fired)}
    compare(benchmark, way, fired.nbytes, ways)


@WAYS
def test_pack_columns(benchmark: BenchmarkFixture, way: str, fired: NDArray[np.bool_]) -> None:
    columns = list(np.ascontiguousarray(fired.T))
    ways = {"kernels": lambda: bits.pack_columns(columns), "numpy": lambda: reference.pack_columns(columns)}
    compare(benchmark, way, fired.nbytes, ways)


@WAYS
def test_any_of(benchmark: BenchmarkFixture, way: str, words: NDArray[np.uint64]) -> None:
    mask = streams()[0]
    ways = {"kernels": lambda: bits.any_of(words, mask), "numpy": lambda: reference.any_of(words, mask)}
    compare(benchmark, way, words.nbytes, ways)


@WAYS
def test_all_of(benchmark: BenchmarkFixture, way: str, words: NDArray[np.uint64]) -> None:
    mask = streams()[0]
    ways = {"kernels": lambda: bits.all_of(words, mask), "numpy": lambda: reference.all_of(words, mask)}
    compare(benchmark, way, words.nbytes, ways)


@WAYS
def test_none_of(benchmark: BenchmarkFixture, way: str, words: NDArray[np.uint64]) -> None:
    mask = streams()[0]
    ways = {"kernels": lambda: bits.none_of(words, mask), "numpy": lambda: reference.none_of(words, mask)}
    compare(benchmark, way, words.nbytes, ways)


@WAYS
def test_stream_masks(benchmark: BenchmarkFixture, way: str, words: NDArray[np.uint64]) -> None:
    table = streams()
    ways = {
        "kernels": lambda: bits.stream_masks(words, table),
        "numpy": lambda: reference.stream_masks(words, table),
    }
    compare(benchmark, way, words.nbytes, ways)


@WAYS
def test_overlap(benchmark: BenchmarkFixture, way: str, masks: NDArray[np.uint64]) -> None:
    ways = {
        "kernels": lambda: bits.overlap(masks, STREAMS),
        "numpy": lambda: reference.overlap(masks, STREAMS),
    }
    compare(benchmark, way, masks.nbytes, ways)


@WAYS
def test_census(benchmark: BenchmarkFixture, way: str, masks: NDArray[np.uint64]) -> None:
    ways = {"kernels": lambda: bits.census(masks), "numpy": lambda: reference.census(masks)}
    compare(benchmark, way, masks.nbytes, ways)


@WAYS
def test_partition(benchmark: BenchmarkFixture, way: str, masks: NDArray[np.uint64]) -> None:
    ways = {
        "kernels": lambda: jagged.partition(masks, STREAMS),
        "numpy": lambda: reference.partition(masks, STREAMS),
    }
    compare(benchmark, way, masks.nbytes, ways)


@WAYS
def test_keep(benchmark: BenchmarkFixture, way: str, keys: NDArray[np.uint64]) -> None:
    ways = {"kernels": lambda: prescale.keep(keys, 10, 7), "numpy": lambda: reference.keep(keys, 10, 7)}
    compare(benchmark, way, keys.nbytes, ways)


@WAYS
def test_apply_prescales(
    benchmark: BenchmarkFixture, way: str, words: NDArray[np.uint64], keys: NDArray[np.uint64]
) -> None:
    factors = np.ones(PATHS, dtype=np.uint64)
    factors[::10] = 20
    salts = np.arange(PATHS, dtype=np.uint64)
    ways = {
        "kernels": lambda: prescale.apply_prescales(words, keys, factors, salts),
        "numpy": lambda: reference.apply_prescales(words, keys, factors, salts),
    }
    compare(benchmark, way, words.nbytes, ways)


@WAYS
def test_gather(benchmark: BenchmarkFixture, way: str, jets: tuple[NDArray[Any], ...]) -> None:
    _, offsets, index = jets
    ways = {
        "kernels": lambda: jagged.gather(offsets, index),
        "numpy": lambda: reference.gather(offsets, index),
    }
    compare(benchmark, way, offsets.nbytes, ways)


@WAYS
def test_gather_bytes(benchmark: BenchmarkFixture, way: str, jets: tuple[NDArray[Any], ...]) -> None:
    ways = {"kernels": lambda: jagged.gather_bytes(*jets), "numpy": lambda: reference.gather_bytes(*jets)}
    compare(benchmark, way, jets[0].nbytes, ways)


@WAYS
@pytest.mark.parametrize("width", [1, 8, 100])
def test_take_fixed(
    benchmark: BenchmarkFixture, way: str, width: int, events: int, jets: tuple[NDArray[Any], ...]
) -> None:
    rows = np.random.default_rng(6).integers(0, 256, (events, width), dtype=np.uint8)
    index = jets[2]
    ways = {
        "kernels": lambda: jagged.take_fixed(rows, index),
        "numpy": lambda: reference.take_fixed(rows, index),
    }
    compare(benchmark, way, rows.nbytes, ways)


@WAYS
def test_event_keys(benchmark: BenchmarkFixture, way: str, identity: list[NDArray[Any]]) -> None:
    ways = {
        "kernels": lambda: fingerprint.event_keys(identity),
        "numpy": lambda: reference.event_keys(identity),
    }
    compare(benchmark, way, sum(column.nbytes for column in identity), ways)


@WAYS
def test_fingerprint(benchmark: BenchmarkFixture, way: str, keys: NDArray[np.uint64]) -> None:
    ways = {"kernels": lambda: fingerprint.fingerprint(keys), "numpy": lambda: reference.fingerprint(keys)}
    compare(benchmark, way, keys.nbytes, ways)


@WAYS
def test_group_fingerprints(
    benchmark: BenchmarkFixture, way: str, keys: NDArray[np.uint64], masks: NDArray[np.uint64]
) -> None:
    found, _, group = bits.census(masks)
    ways = {
        "kernels": lambda: fingerprint.group_fingerprints(keys, group, len(found)),
        "numpy": lambda: reference.group_fingerprints(keys, group, len(found)),
    }
    compare(benchmark, way, keys.nbytes, ways)


@WAYS
def test_duplicates(benchmark: BenchmarkFixture, way: str, identity: list[NDArray[Any]]) -> None:
    columns = [np.append(column, column[:3]) for column in identity]
    ways = {"kernels": lambda: unique.duplicates(columns), "numpy": lambda: reference.duplicates(columns)}
    compare(benchmark, way, sum(column.nbytes for column in columns), ways)


@WAYS
def test_sections(benchmark: BenchmarkFixture, way: str, identity: list[NDArray[Any]]) -> None:
    run, section, _ = identity
    ways = {
        "kernels": lambda: unique.sections(run, section),
        "numpy": lambda: reference.sections(run, section),
    }
    compare(benchmark, way, run.nbytes + section.nbytes, ways)


@WAYS
@pytest.mark.parametrize("width", [1, 8, 100])
def test_content_fixed(benchmark: BenchmarkFixture, way: str, width: int, events: int) -> None:
    rows = np.random.default_rng(7).integers(0, 256, (events, width), dtype=np.uint8)
    ways = {"kernels": lambda: content.fixed(rows, 1), "numpy": lambda: reference.fixed(rows, 1)}
    compare(benchmark, way, rows.nbytes, ways)


@WAYS
def test_content_jagged(benchmark: BenchmarkFixture, way: str, jets: tuple[NDArray[Any], ...]) -> None:
    data, offsets, _ = jets
    starts, stops = offsets[:-1], offsets[1:]
    ways = {
        "kernels": lambda: content.jagged(starts, stops, data, 1),
        "numpy": lambda: reference.jagged(starts, stops, data, 1),
    }
    compare(benchmark, way, data.nbytes, ways)


@WAYS
def test_seal(benchmark: BenchmarkFixture, way: str, masks: NDArray[np.uint64]) -> None:
    ways = {"kernels": lambda: content.seal(masks), "numpy": lambda: reference.seal(masks)}
    compare(benchmark, way, masks.nbytes, ways)


@WAYS
def test_group_sums(benchmark: BenchmarkFixture, way: str, masks: NDArray[np.uint64]) -> None:
    found, _, group = bits.census(masks)
    ways = {
        "kernels": lambda: content.group_sums(masks, group, len(found)),
        "numpy": lambda: reference.group_sums(masks, group, len(found)),
    }
    compare(benchmark, way, masks.nbytes, ways)


@WAYS
def test_falling(benchmark: BenchmarkFixture, way: str, jets: tuple[NDArray[Any], ...]) -> None:
    _, offsets, _ = jets
    listed = offsets.astype(">i4").view(np.uint8)
    counts = np.full(max(1, len(offsets) // 1000), len(offsets) // max(1, len(offsets) // 1000))
    begins, least = 4 * (np.cumsum(counts) - counts), np.zeros_like(counts)
    most = np.full_like(counts, int(offsets[-1]))
    ways = {
        "kernels": lambda: rows.falling(listed, begins, counts, least, most),
        "numpy": lambda: reference.falling(listed, begins, counts, least, most),
    }
    compare(benchmark, way, listed.nbytes, ways)


@pytest.mark.parametrize("way", ["kernels", "lz4"])
def test_lz4_blocks(benchmark: BenchmarkFixture, way: str, blocks: Blocks) -> None:
    def unpacked() -> NDArray[np.uint8]:
        out = np.empty(int(blocks.sizes.sum()) + lz4blocks.SLACK, np.uint8)
        assert lz4blocks.unpack(blocks.data, blocks.begins, blocks.ends, out, blocks.places, blocks.sizes) < 0
        return out[: -lz4blocks.SLACK]

    def by_the_library() -> NDArray[np.uint8]:
        parts = [lz4.block.decompress(one, uncompressed_size=size) for one, size in blocks.each()]
        return np.frombuffer(b"".join(parts), np.uint8)

    ways: dict[str, Callable[[], Any]] = {"kernels": unpacked, "lz4": by_the_library}
    compare(benchmark, way, len(blocks.data), ways, judge="lz4")


@pytest.mark.parametrize("way", ["kernels", "xxhash"])
def test_xxh64(benchmark: BenchmarkFixture, way: str, blocks: Blocks) -> None:
    ways: dict[str, Callable[[], Any]] = {
        "kernels": lambda: xxh64.digests(blocks.data, blocks.begins, blocks.ends),
        "xxhash": lambda: np.array([xxhash.xxh64_intdigest(one) for one, _ in blocks.each()], np.uint64),
    }
    compare(benchmark, way, len(blocks.data), ways, judge="xxhash")


@pytest.mark.parametrize("way", ["kernels", "numpy", "zlib", "isal"])
def test_adler32(benchmark: BenchmarkFixture, way: str, scale: float) -> None:
    data = np.random.default_rng(8).bytes(max(10_000, int(32_000_000 * scale)))
    ways: dict[str, Callable[[], int]] = {
        "kernels": lambda: adler.adler32(data),
        "numpy": lambda: reference.adler32(data),
        "zlib": lambda: zlib.adler32(data),
        "isal": lambda: isal_zlib.adler32(data),
    }
    compare(benchmark, way, len(data), ways, judge="zlib")


@WAYS
def test_mask_words(benchmark: BenchmarkFixture, way: str) -> None:
    chosen = range(0, PATHS, 3)
    ways = {
        "kernels": lambda: bits.mask_words(chosen, PATHS),
        "numpy": lambda: reference.mask_words(chosen, PATHS),
    }
    compare(benchmark, way, 8 * bits.word_count(PATHS), ways)


@WAYS
def test_mix64(benchmark: BenchmarkFixture, way: str) -> None:
    ways = {"kernels": lambda: fingerprint.mix64(2**63), "numpy": lambda: reference.mix64(2**63)}
    compare(benchmark, way, 8, ways)


@WAYS
def test_combine(benchmark: BenchmarkFixture, way: str) -> None:
    first, second, length = zlib.adler32(b"first"), zlib.adler32(b"second"), len(b"second")
    ways = {
        "kernels": lambda: adler.combine(first, second, length),
        "numpy": lambda: reference.combine(first, second, length),
    }
    compare(benchmark, way, length, ways)
