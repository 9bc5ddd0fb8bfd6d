# ruff: noqa: D103  # each is documented where the kernel of its name is
"""The obvious numpy version of each kernel, under the same name: what the tests and benchmarks hold the others to.

Slow where that makes it plain, and without checks of its arguments. It also answers for few events, before numba would
have been imported. What others have defined, `kernels.lz4blocks` and `kernels.xxh64`, is held to their libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "adler32",
    "all_of",
    "any_of",
    "apply_prescales",
    "census",
    "combine",
    "duplicates",
    "event_keys",
    "falling",
    "fingerprint",
    "fixed",
    "gather",
    "gather_bytes",
    "group_fingerprints",
    "group_sums",
    "jagged",
    "keep",
    "mask_words",
    "mix64",
    "none_of",
    "overlap",
    "pack_bits",
    "pack_columns",
    "partition",
    "seal",
    "sections",
    "stream_masks",
    "take_fixed",
]

Words = NDArray[np.uint64]
Flags = NDArray[np.bool_]
Index = NDArray[np.int64]
Bytes = NDArray[np.uint8]
Integers = NDArray[np.integer[Any]]

U = np.uint64
#: The two seeds of keys, the first 128 bits of the fractional part of pi. Others would change every stored fingerprint.
SEEDS = np.array([0x243F6A8885A308D3, 0x13198A2E03707344], dtype=np.uint64)


def pack_bits(flags: Flags) -> Words:
    n, b = flags.shape
    padded = np.zeros((n, 64 * max(1, -(-b // 64))), dtype=np.bool_)
    padded[:, :b] = flags
    return np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64)


def pack_columns(columns: Sequence[Flags], n_events: int | None = None) -> Words:
    flags = np.stack(columns, axis=1) if columns else np.zeros((n_events or 0, 0), dtype=np.bool_)
    return pack_bits(flags)


def mask_words(bits: Iterable[int], n_bits: int) -> Words:
    flags = np.zeros((1, n_bits), dtype=np.bool_)
    flags[0, list(bits)] = True
    return np.asarray(pack_bits(flags)[0])


def any_of(words: Words, mask: Words) -> Flags:
    return np.asarray((words & mask).any(axis=1))


def all_of(words: Words, mask: Words) -> Flags:
    return np.asarray((words & mask == mask).all(axis=1))


def none_of(words: Words, mask: Words) -> Flags:
    return np.asarray((words & mask == 0).all(axis=1))


def stream_masks(words: Words, streams: Words) -> Words:
    out = np.zeros(len(words), dtype=np.uint64)
    for s, mask in enumerate(streams):
        out |= any_of(words, mask).astype(np.uint64) << U(s)
    return out


def overlap(stream_mask: Words, n_streams: int) -> Index:
    member = (stream_mask[:, None] >> np.arange(n_streams, dtype=np.uint64) & U(1)).astype(np.int64)
    return np.asarray(member.T @ member)


def census(stream_mask: Words) -> tuple[Words, Index, Index]:
    masks, group, counts = np.unique(stream_mask, return_inverse=True, return_counts=True)
    return masks, counts, group


def _mix(values: Words) -> Words:
    mixed = (values ^ values >> U(30)) * U(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> U(27)) * U(0x94D049BB133111EB)
    return mixed ^ mixed >> U(31)


def mix64(value: int) -> int:
    return int(_mix(np.array([value], dtype=np.uint64))[0])


def keep(keys: Words, prescale: int, salt: int) -> Flags:
    if prescale == 0:
        return np.zeros(len(keys), dtype=np.bool_)
    return np.asarray(_mix(keys[:, 0] ^ U(salt)) % U(prescale) == 0)


def apply_prescales(words: Words, keys: Words, prescales: Words, salts: Words) -> Words:
    kept = [keep(keys, int(prescale), int(salt)) for prescale, salt in zip(prescales, salts, strict=True)]
    return words & pack_columns(kept, len(keys))


def gather(offsets: Index, index: Index) -> tuple[Index, Index]:
    starts, lengths = offsets[index], offsets[index + 1] - offsets[index]
    new_offsets = np.concatenate(([0], np.cumsum(lengths)))
    return new_offsets, np.arange(new_offsets[-1]) + np.repeat(starts - new_offsets[:-1], lengths)


def gather_bytes(data: Bytes, offsets: Index, index: Index) -> tuple[Bytes, Index]:
    new_offsets, take = gather(offsets, index)
    return data[take], new_offsets


def take_fixed(data: Bytes, index: Index) -> Bytes:
    return data[index]


def partition(stream_mask: Words, n_streams: int) -> list[Index]:
    return [np.flatnonzero(stream_mask >> U(s) & U(1)) for s in range(n_streams)]


def event_keys(columns: Sequence[Integers]) -> Words:
    keys = np.tile(SEEDS, (len(columns[0]), 1))
    for column in columns:
        wide = np.int64 if column.dtype.kind == "i" else np.uint64
        keys = _mix(keys ^ column.astype(wide).view(np.uint64)[:, None])
    return keys


def fingerprint(keys: Words) -> Words:
    return np.asarray(keys.sum(axis=0, dtype=np.uint64))


def group_fingerprints(keys: Words, group: Integers, n_groups: int) -> Words:
    out = np.zeros((n_groups, 2), dtype=np.uint64)
    np.add.at(out, group, keys)
    return out


def duplicates(columns: Sequence[Integers]) -> Index:
    order = np.lexsort(tuple(columns))
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
    first = np.empty(len(order), dtype=np.int64)
    first[order] = order[new][np.cumsum(new) - 1]
    repeated = np.flatnonzero(first != np.arange(len(first)))
    return np.stack((first[repeated], repeated), axis=1)


def sections(run: Integers, section: Integers) -> tuple[Index, Index]:
    pairs = np.stack((run, section), axis=1, dtype=np.int64)[np.lexsort((section, run))]
    first = np.flatnonzero(np.append(True, (pairs[1:] != pairs[:-1]).any(axis=1)))[: len(pairs)]
    return pairs[first], np.diff(first, append=len(pairs))


def _rotate(words: Words, by: int) -> Words:
    return words << U(by) | words >> U(64 - by)


def jagged(starts: Index, stops: Index, data: Bytes, salt: int | np.uint64) -> Words:
    lengths = stops - starts
    padded = np.concatenate((data, np.zeros(8, dtype=np.uint8)))
    state = _mix(U(mix64(int(salt))) ^ lengths.astype(np.uint64))
    for at in range(0, int(lengths.max(initial=0)), 8):
        inside = np.flatnonzero(lengths > at)
        places = starts[inside, None] + np.arange(at, at + 8)
        eight = np.where(places < stops[inside, None], padded[np.minimum(places, len(data))], 0).astype(
            np.uint8
        )
        words = eight.view("<u8")[:, 0] * U(0x9E3779B97F4A7C15)
        words = _rotate(words, 31) * U(0xD6E8FEB86659FD93)
        state[inside] = _rotate(state[inside] ^ words, 27) * U(0x9E3779B97F4A7C15) + U(0x452821E638D01377)
    return _mix(state)


def fixed(data: Bytes, salt: int | np.uint64) -> Words:
    n, width = data.shape
    starts = np.arange(n) * width
    return jagged(starts, starts + width, data.reshape(-1), salt)


def seal(per_event: Words) -> Words:
    return _mix(per_event + U(0x452821E638D01377))


def group_sums(per_event: Words, group: Index, n_groups: int) -> Words:
    out = np.zeros(n_groups, dtype=np.uint64)
    np.add.at(out, group, per_event)
    return out


def adler32(data: bytes, value: int = 1) -> int:
    low, high = value & 0xFFFF, value >> 16
    steps = (low + np.cumsum(np.frombuffer(data, dtype=np.uint8), dtype=np.uint64)) % U(65521)
    low = int(steps[-1]) if len(steps) else low % 65521
    return (high + int(steps.sum(dtype=np.uint64))) % 65521 << 16 | low


def combine(first: int, second: int, length: int) -> int:
    high = (first >> 16) + (second >> 16) + length * ((first & 0xFFFF) - 1)
    return high % 65521 << 16 | ((first & 0xFFFF) + (second & 0xFFFF) - 1) % 65521


def falling(data: Bytes, begins: Index, counts: Index, least: Index, most: Index) -> int:
    rows = [
        data[begin : begin + 4 * count] for begin, count in zip(begins.tolist(), counts.tolist(), strict=True)
    ]
    numbers = np.concatenate([data[:0], *rows]).view(">i4").astype(np.int32)
    ends = np.cumsum(counts)
    falls = np.flatnonzero(numbers[1:] < numbers[:-1]) + 1
    falls = falls[~np.isin(falls, ends)]
    owners = np.searchsorted(ends, falls[:1], side="right").tolist()
    some = np.flatnonzero(counts)
    lowest, highest = numbers[ends[some] - counts[some]], numbers[ends[some] - 1]
    beyond = some[(lowest < least[some]) | (highest > most[some])][:1].tolist()
    return min(owners + beyond, default=-1)


def basket_hashes(
    data: Bytes,
    begins: Index,
    sizes: Index,
    ends: Index,
    counts: Index,
    shifts: Index,
    as_sizes: Flags,
    salts: Words,
) -> tuple[int, Words]:
    parts = [np.zeros(0, dtype=np.uint64)]
    rows = zip(*(a.tolist() for a in (begins, sizes, ends, counts, shifts, as_sizes, salts)), strict=True)
    for number, (begin, size, end, count, shift, sized, salt) in enumerate(rows):
        basket = data[begin : begin + size]
        if size == end:
            edges = np.linspace(0, end, count + 1)
            if (edges % 1).any() or (size and not count):
                return number, parts[0]
        else:
            listed = basket[end : end + (size - end) // 4 * 4].view(">i4").astype(np.int64)
            if len(listed) < count + 2 or listed[0] != count + 1 or not count:
                return number, parts[0]
            edges = np.append(listed[1 : count + 1] - shift, end)
            if sized:
                edges[:-1] = np.append(0, np.cumsum(listed[2 : count + 1]))
            if edges[0] < 0 or (np.diff(edges) < 0).any():
                return number, parts[0]
        edges = edges.astype(np.int64)
        parts.append(jagged(edges[:-1], edges[1:], basket, salt))
    return -1, np.concatenate(parts)


def add_runs(sums: Words, firsts: Index, counts: Index, values: Words) -> None:
    np.add.at(sums, np.repeat(firsts - np.cumsum(counts) + counts, counts) + np.arange(len(values)), values)
