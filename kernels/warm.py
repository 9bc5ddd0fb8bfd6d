"""Compile every kernel before the first event: once for each installation and kind of CPU, or before a fork."""

from __future__ import annotations

import numpy as np

from kernels import (
    adler,
    baskets,
    bits,
    content,
    fingerprint,
    jagged,
    lz4blocks,
    prescale,
    rows,
    unique,
    xxh64,
)

__all__ = ["warm"]


def warm() -> None:
    """Run every kernel once on one event.

    Fills numba's cache (seconds), or loads from it (a fraction of a second). Idempotent; blocks until done. A process
    that forks payloads calls it first, so that they start with compiled code.
    """
    # The first one imports numba; from then on none is answered by its reference.
    one = np.zeros(1, dtype=np.int64)
    offsets = np.array([0, 1], dtype=np.int64)
    data = np.zeros(1, dtype=np.uint8)
    flags = np.ones((1, 1), dtype=np.bool_)

    words = bits.pack_bits(flags)
    bits.pack_columns([flags[:, 0]])
    bits.any_of(words, words[0])
    bits.all_of(words, words[0])
    streams = bits.stream_masks(words, words)
    bits.overlap(streams, 1)
    bits.census(streams)

    fingerprint.mix64(0)
    keys = fingerprint.event_keys([one])
    fingerprint.fingerprint(keys)
    fingerprint.group_fingerprints(keys, one, 1)
    prescale.keep(keys, 2, 0)
    prescale.apply_prescales(words, keys, np.array([2], dtype=np.uint64), streams)

    jagged.gather(offsets, one)
    jagged.gather_bytes(data, offsets, one)
    jagged.take_fixed(data.reshape(1, 1), one)
    jagged.partition(streams, 1)

    unique.duplicates([np.zeros(2, dtype=np.int64)])
    unique.sections(one, one)

    content.seal(content.fixed(data.reshape(1, 1), 0))
    content.group_sums(content.jagged(one, offsets[1:], data, 0), one, 1)
    adler.adler32(data)
    _, found = baskets.hashes(data, baskets.Lie(one, *(offsets[1:],) * 3, one, flags[0]), words[:, 0])
    baskets.add_runs(found.copy(), one, offsets[1:], found)

    xxh64.digests(data, one, one)
    lz4blocks.unpack(data, one, offsets[1:], np.empty(17, dtype=np.uint8), one, one)
    rows.falling(np.zeros(4, dtype=np.uint8), one, offsets[1:], one, one)
