"""Unpack the baskets of a file and pack those of others, on all cores, and nothing else: the least that a split does.

``packing.py CODEC TIMED IN OUT ...`` writes the seconds to a file; the time to find the baskets isn't counted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from grid.rootio.format.blocks import Compression, pack
from grid.rootio.format.keys import parse_key
from grid.rootio.format.unpack import unpack

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Where the first key lies.
BEGIN = 100


def main(codec: str, timed: str, source: str, *outs: str) -> None:
    compression = Compression.parse(codec)
    threads = os.cpu_count() or 1
    packed = [*baskets(source)]
    plain = [unpack(*one, "a basket") for out in outs for one in baskets(out)]

    def share(number: int) -> None:
        for payload, size in packed[number::threads]:
            unpack(payload, size, "a basket")
        for data in plain[number::threads]:
            pack(data, compression)

    with ThreadPoolExecutor(threads) as pool:
        begun = time.perf_counter()
        list(pool.map(share, range(threads)))
        seconds = time.perf_counter() - begun
    Path(timed).write_text(json.dumps({"seconds": seconds}))


def baskets(path: str) -> Iterator[tuple[memoryview, int]]:
    """Yield the packed bytes of every basket in a file, and how many they are when unpacked."""
    data = memoryview(Path(path).read_bytes())
    at = BEGIN
    while at < len(data):
        # a gap says its length, as a negative number, and nothing else
        if (gap := int.from_bytes(data[at : at + 4], "big", signed=True)) < 0:
            at -= gap
            continue
        key, _ = parse_key(data, at)
        if key.class_name == b"TBasket":
            yield data[at + key.length : at + key.nbytes], key.object_bytes
        at += key.nbytes


if __name__ == "__main__":
    main(*sys.argv[1:])
