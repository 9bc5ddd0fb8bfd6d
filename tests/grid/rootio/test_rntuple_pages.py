"""The lists of pages of an RNTuple say where its values lie: a changed one gives no other answer."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
import uproot
from xxhash import xxh3_64_intdigest

from grid.rootio.facts import file_facts
from sitecfg.errors import CorruptFile
from tests.grid.rootio.fuzz_table import ntuple

if TYPE_CHECKING:
    from pathlib import Path

#: Head and header's checksum; then the list of clusters: two heads, and the first entry of the first cluster.
FIRST_ENTRY = 8 + 8 + 12 + 8


@pytest.fixture
def made(tmp_path: Path) -> tuple[Path, range]:
    """An RNTuple, and where its list of pages lies."""
    ntuple(tmp_path / "a.root", compression=None)
    with uproot.open(tmp_path / "a.root") as file:
        (group,) = file["Events"].footer.cluster_group_records
        place = group.page_list_link.locator
        return tmp_path / "a.root", range(place.offset, place.offset + place.num_bytes)


def test_every_flipped_bit_of_a_list_of_pages_is_found(made: tuple[Path, range], tmp_path: Path) -> None:
    path, places = made
    for number, place in enumerate(places):
        data = bytearray(path.read_bytes())
        data[place] ^= 1 << number % 8
        (tmp_path / f"{place}.root").write_bytes(data)
        with pytest.raises(CorruptFile, match=f"{place}.root: Events"):
            file_facts(tmp_path / f"{place}.root", identity=None)


def test_clusters_that_leave_out_entries_are_refused(made: tuple[Path, range], tmp_path: Path) -> None:
    path, places = made
    data = bytearray(path.read_bytes())
    pages = memoryview(data)[places.start : places.stop]
    assert struct.unpack_from("<Q", pages, FIRST_ENTRY) == (0,)
    struct.pack_into("<Q", pages, FIRST_ENTRY, 1)
    struct.pack_into("<Q", pages, len(pages) - 8, xxh3_64_intdigest(pages[:-8]))
    (tmp_path / "b.root").write_bytes(data)
    with pytest.raises(CorruptFile, match="its clusters don't hold its 400 entries"):
        file_facts(tmp_path / "b.root", identity=None)
