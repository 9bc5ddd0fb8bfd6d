"""Where in a file the bytes lie that its own checksums cover: found without what `verify` adds up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import uproot
import zstandard

from grid.rootio.format.unpack import unpack
from grid.rootio.image import Image
from grid.rootio.structure import Entry, read_skeleton
from grid.rootio.treescan import scan_tree

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from grid.rootio.format.keys import Key

CHECKSUM = 8


def covered(path: Path) -> set[int]:
    """Return the places of the bytes that a checksum inside the file covers."""
    found: set[int] = set()
    with Image(path) as image:
        skeleton = read_skeleton(image)
        keys = [entry.key for entry in skeleton.entries if not entry.class_name.startswith("TDirectory")]
        if skeleton.header.seek_info:
            keys.append(image.key(skeleton.header.seek_info, ""))
        for entry in skeleton.newest().values():
            if entry.class_name in {"TTree", "TNtuple", "TNtupleD"}:
                keys += baskets(image, entry)
            elif entry.class_name == "ROOT::RNTuple":
                found.update(*ntuple(path, image, entry))
        for key in keys:
            if key.packed_bytes != key.object_bytes:
                found.update(*blocks(image, key.seek + key.length, key.seek + key.nbytes))
    return found


def baskets(image: Image, entry: Entry) -> Iterator[Key]:
    key = entry.key
    data = unpack(image.read(key.seek + key.length, key.packed_bytes, ""), key.object_bytes, "")
    for branch in scan_tree(data, key.length, entry.class_name, "").branches:
        yield from (image.key(seek, "") for seek in branch.seeks)


def blocks(image: Image, at: int, end: int) -> Iterator[range]:
    """Yield the packed bytes of the blocks whose algorithm tests them."""
    while at < end:
        head = bytes(image.read(at, 9, ""))
        size = int.from_bytes(head[3:6], "little")
        tested = head[:2] in {b"ZL", b"L4", b"XZ"}
        if head[:2] == b"ZS":
            tested = zstandard.get_frame_parameters(image.read(at + 9, size, "")).has_checksum
        if tested:
            yield range(at + 9, at + 9 + size)
        at += 9 + size


def ntuple(path: Path, image: Image, entry: Entry) -> Iterator[range]:
    """Yield anchor, envelopes and pages of an RNTuple."""
    yield range(entry.key.seek + entry.key.length, entry.key.seek + entry.key.nbytes)
    with uproot.open(path) as file:
        found: Any = file[entry.path]
        for part in ("Header", "Footer"):
            start = found.member(f"fSeek{part}")
            yield range(start, start + found.member(f"fNBytes{part}"))
        for group in found.footer.cluster_group_records:
            place = group.page_list_link.locator
            yield range(place.offset, place.offset + place.num_bytes)
        for columns in found.page_link_list:
            for number, pages in enumerate(columns):
                bits = found.column_records[number].nbits
                for page in pages.pages:
                    start, size = page.locator.offset, page.locator.num_bytes
                    if page.has_checksum:
                        yield range(start, start + size + CHECKSUM)
                    elif size != (page.num_elements * bits + 7) // 8:
                        yield from blocks(image, start, start + size)
