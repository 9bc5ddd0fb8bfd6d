"""RNTuples that contradict themselves: nothing wrong is let through a merge."""

from __future__ import annotations

import random
import struct
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_digest

from grid.rootio.format.anchors import Anchor
from grid.rootio.format.envelopes import FOOTER, envelope, listed
from grid.rootio.format.ntuples import Footer
from grid.rootio.format.unpack import unpack
from grid.rootio.gather.clusters import Clusters
from grid.rootio.image import Image
from grid.rootio.ntuple import read_ntuple
from grid.rootio.split import SplitRecipe, split
from grid.rootio.structure import read_skeleton
from sitecfg.errors import CorruptFile, GridError, SchemaMismatch, UnsupportedContent
from tests.grid.rootio.fuzz_table import ntuple
from tests.grid.rootio.judge import needs_root
from tests.grid.rootio.making import nano
from tests.grid.rootio.ntuples import DEPTHS, REAL, arrays, joined, merged, same

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from grid.rootio.ntuple import NTuple

#: The head of a block, in which one byte says nothing.
HEAD = 9


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An RNTuple that uproot wrote."""
    path = tmp_path_factory.mktemp("small") / "in.root"
    ntuple(path)
    return path


def opened(path: Path) -> NTuple:
    with Image(path) as image:
        return read_ntuple(image, read_skeleton(image).newest()["Events"])


def places(path: Path) -> dict[str, tuple[int, int]]:
    """Where the parts of an RNTuple lie: position and size."""
    with Image(path) as image:
        entry = read_skeleton(image).newest()["Events"]
        found = read_ntuple(image, entry)
        (group,) = found.footer.groups
        pages = found.pages(group)
    key = entry.key
    return {
        "anchor": (key.seek + key.length + 6, key.packed_bytes - 6),
        "header": found.anchor.header[:2],
        "footer": found.anchor.footer[:2],
        "list of pages": (group.offset, group.size),
        "page": (int(pages.offsets[-1]), int(pages.sizes[-1])),
    }


@settings(deadline=None)
@given(
    part=st.sampled_from(["anchor", "header", "footer", "list of pages", "page"]),
    where=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
)
def test_a_flipped_bit_is_found_or_changes_nothing(
    real_data: Path, tmp_path_factory: pytest.TempPathFactory, part: str, where: float, bit: int
) -> None:
    folder, sound = tmp_path_factory.mktemp("flip"), real_data / REAL[1]
    data = bytearray(sound.read_bytes())
    place, size = places(sound)[part]
    data[place + HEAD + int(where * (size - HEAD))] ^= 1 << bit
    (folder / "bad.root").write_bytes(data)
    try:
        merged([sound, folder / "bad.root"], folder / "out.root")
    except (CorruptFile, UnsupportedContent):
        assert not (folder / "out.root").exists()
    else:  # a bit that no codec looks at
        assert part not in {"page", "anchor"}
        same(arrays(folder / "out.root"), joined([sound] * 2))


@pytest.mark.parametrize("name", REAL)
def test_bytes_that_are_anything_end_in_our_own_errors(real_data: Path, tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    for _ in range(15):
        data = bytearray((real_data / name).read_bytes())
        for _ in range(chance.choice([1, 4])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        (tmp_path / "bad.root").write_bytes(data)
        out = tmp_path / "out.root"
        try:
            merged([tmp_path / "bad.root"] * 2, out, chance.choice(["copied", "sealed"]))
        except GridError:
            assert not out.exists()
        else:
            out.unlink()


def rebuilt(path: Path, out: Path, **parts: Any) -> Path:
    """Append parts of an RNTuple anew, with sound checksums: anchor, header, footer or list of pages."""
    data = bytearray(path.read_bytes())
    with Image(path) as image:
        entry = read_skeleton(image).newest()["Events"]
        found = read_ntuple(image, entry)
    anchor, footer = found.anchor, found.footer

    def append(part: bytes) -> tuple[int, int, int]:
        data.extend(part)
        return len(data) - len(part), len(part), len(part)

    more = parts.get("more", 0)
    if "page" in parts:
        at, _, _ = append(parts["page"])
        parts["pages"] = parts["pages"](at)
    if "pages" in parts:
        at, size, length = append(parts["pages"])
        (group,) = footer.groups
        footer = Footer(
            (type(group)(group.first, group.entries + more, group.clusters, length, at, size),), None
        )
        anchor = Anchor(
            anchor.version, anchor.header, append(footer.encode(found.header.checksum, b"")), 1 << 30
        )
    if "footer" in parts:
        anchor = Anchor(anchor.version, anchor.header, append(parts["footer"]), anchor.largest)
    if "anchor" in parts:
        anchor = parts["anchor"](anchor)
    place = entry.key.seek + entry.key.length
    assert entry.key.packed_bytes == len(anchor.encode())
    data[place : place + entry.key.packed_bytes] = anchor.encode()
    struct.pack_into(">i", data, 12, len(data))
    out.write_bytes(data)
    return out


def footer_with(path: Path, rest: bytes, flags: int = 0) -> bytes:
    found = opened(path)
    data = found.footer.encode(found.header.checksum, b"")
    return envelope(FOOTER, struct.pack("<q", flags) + data[16:-8] + rest)


def test_what_is_not_known_is_refused_by_name(small: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.root"
    empty = rebuilt(small, tmp_path / "empty.root", footer=footer_with(small, listed([])))
    assert merged([small, empty], out).output.events == 800
    out.unlink()
    cases: dict[str, dict[str, Any]] = {
        "1 linked attribute sets": {"footer": footer_with(small, listed([b"\x08" + bytes(7)]))},
        "the end of the footer": {"footer": footer_with(small, listed([]) + bytes(8))},
        "features of RNTuple that are not known": {"footer": footer_with(small, b"", 1)},
        "before version 1": {"anchor": lambda one: Anchor((0, 3, 0, 0), one.header, one.footer, one.largest)},
        "epoch 2": {"anchor": lambda one: Anchor((2, 0, 0, 0), one.header, one.footer, one.largest)},
        "larger than a key may be": {"anchor": lambda one: Anchor(one.version, one.header, one.footer, 100)},
    }
    for words, source in cases.items():
        bad = rebuilt(small, tmp_path / "bad.root", **source)
        with pytest.raises(UnsupportedContent, match=words) as caught:
            merged([bad], out)
        assert caught.value.where == f"{bad}: Events"
        assert not out.exists()


def test_pages_that_lie_elsewhere_or_are_others_are_found(small: Path, tmp_path: Path) -> None:
    with Image(small) as image:
        found = read_ntuple(image, read_skeleton(image).newest()["Events"])
        pages = found.pages(found.footer.groups[0])

    def changed(**values: Any) -> bytes:
        other = deepcopy(pages)
        for name, (index, add) in values.items():
            getattr(other, name)[index] += add
        return other.encode(found.header.checksum)

    for words, data in {
        "": changed(),
        "overlaps another": changed(offsets=(1, -60)),
        "ends outside": changed(offsets=(0, 1 << 40)),
        "clusters don't follow": changed(firsts=(0, 1)),
        "clusters hold 401": changed(entries=(0, 1)),
        "ends before its last block|has a block that is larger": changed(sizes=(0, -1)),
        "elements in a cluster of 401": changed(entries=(0, 1)),
        "element offsets": changed(starts=(1, 7)),
    }.items():
        more = 1 if "401" in words and "hold" not in words else 0
        source = rebuilt(small, tmp_path / "in.root", pages=data, more=more)
        out = tmp_path / "out.root"
        if words:
            with pytest.raises(CorruptFile, match=words):
                merged([source], out, "copied")
            assert not out.exists()
        else:
            merged([source], out)
            out.unlink()


def counts(path: Path, field: str) -> tuple[int, NDArray[np.uint64], bool]:
    """Return which page of the list counts the items of a field, its numbers, and whether they are split."""
    found = opened(path)
    number = next(number for number, one in enumerate(found.schema.fields) if one.name == field)
    column = next(index for index, one in enumerate(found.schema.columns) if one.field == number)
    kind, bits = found.schema.columns[column].kind, found.schema.columns[column].bits
    assert (kind, bits) in {(0x0F, 64), (0x1B, 64)}
    with Image(path) as image:
        pages = read_ntuple(image, read_skeleton(image).newest()["Events"]).pages(found.footer.groups[0])
        page = int(np.flatnonzero(pages.columns_of()[pages.ranges_of()] == column)[0])
        payload = image.read(int(pages.offsets[page]), int(pages.sizes[page]), "a page")
        data = np.frombuffer(unpack(payload, 8 * int(pages.elements[page]), ""), np.uint8)
    if kind == 0x0F:
        return page, data.view("<u8"), False
    return page, data.reshape(8, -1).T.copy().view("<u8").reshape(-1).cumsum(dtype=np.uint64), True


def recounted(path: Path, out: Path, page: int, ends: NDArray[np.uint64], split: bool) -> Path:
    """Write other numbers into a page that counts, with a sound checksum."""
    data = ends.astype("<u8").tobytes()
    if split:
        steps = np.diff(ends, prepend=np.uint64(0)).astype("<u8")
        data = np.ascontiguousarray(steps.view(np.uint8).reshape(-1, 8).T).tobytes()
    with Image(path) as image:
        found = read_ntuple(image, read_skeleton(image).newest()["Events"])
        pages = found.pages(found.footer.groups[0])

    def listed_at(place: int) -> bytes:
        pages.offsets[page], pages.sizes[page], pages.sealed[page] = place, len(data), True
        return pages.encode(found.header.checksum)

    sealed = data + xxh3_64_digest(data)[::-1]
    return rebuilt(path, out, page=sealed, pages=listed_at)


@pytest.mark.parametrize(
    ("maker", "field", "identity"),
    [
        ("small", "pt", ("run", "event")),
        pytest.param("of_root", "list", ("event",), marks=[pytest.mark.judge, needs_root]),
        pytest.param("of_root", "text", ("event",), marks=[pytest.mark.judge, needs_root]),
        pytest.param("of_root", "nested", ("event",), marks=[pytest.mark.judge, needs_root]),
    ],
)
def test_counts_that_contradict_their_collections_are_found(
    request: pytest.FixtureRequest, tmp_path: Path, maker: str, field: str, identity: tuple[str, ...]
) -> None:
    """All checksums are sound, so only the depth `proven` finds them."""
    folder = request.getfixturevalue(maker)
    path = folder if maker == "small" else folder / "plain.root"
    page, ends, split = counts(path, field)
    out = tmp_path / "out.root"
    turned = ends.copy()
    turned[[3, -2]] = turned[[-2, 3]]
    for numbers, words in (
        (ends, ""),
        (turned, "out of order"),
        (np.append(ends[:-1], ends[-1] + np.uint64(1)), "in a cluster whose collections have"),
    ):
        source = recounted(path, tmp_path / "in.root", page, numbers, split)
        if words:
            with pytest.raises(CorruptFile, match=words) as caught:
                merged([source], out, "proven", identity=identity)
            assert str(source) in caught.value.where
        else:
            report = merged([source], out, "proven", identity=identity)
            assert report.inputs[0].content is None
        out.unlink(missing_ok=True)


def test_a_large_locator_says_the_same(small: Path, tmp_path: Path) -> None:
    found = opened(small)
    (group,) = found.footer.groups
    plain = struct.pack("<iq", group.size, group.offset)
    large = struct.pack("<iqq", -(1 << 24 | 20), group.size, group.offset)
    footer = bytearray(found.footer.encode(found.header.checksum, b"")[8:-8])
    at = footer.index(plain)
    footer[at : at + len(plain)] = large
    for back in (28 + 8, 28 + 8 + 12):  # the record of the group, and the list of these
        (size,) = struct.unpack_from("<q", footer, at - back)
        struct.pack_into("<q", footer, at - back, size + (8 if size > 0 else -8))
    source = rebuilt(small, tmp_path / "large.root", footer=envelope(FOOTER, bytes(footer)))
    merged([source, small], tmp_path / "out.root")
    same(arrays(tmp_path / "out.root"), joined([small, small]))


def test_a_tree_is_no_ntuple(small: Path, tmp_path: Path) -> None:
    nano(tmp_path / "tree.root", 10)
    for depth in DEPTHS:
        with pytest.raises(SchemaMismatch):
            merged([small, tmp_path / "tree.root"], tmp_path / "out.root", depth)
        with pytest.raises(SchemaMismatch):
            merged([tmp_path / "tree.root", small], tmp_path / "out.root", depth)
        assert not (tmp_path / "out.root").exists()


@pytest.mark.judge
@needs_root
@pytest.mark.parametrize("wrong", [(0, 1 << 63), (8, 3)])
def test_a_variant_that_chooses_what_is_not_there_is_neither_split_nor_proven(
    of_root: Path, tmp_path: Path, wrong: tuple[int, int]
) -> None:
    """A place beyond all, or a third of two kinds, under a sound checksum."""
    source = of_root / "none.root"
    found = opened(source)
    column = next(number for number, one in enumerate(found.schema.columns) if one.kind == 0x10)
    with Image(source) as image:
        one = read_ntuple(image, read_skeleton(image).newest()["Events"])
        pages = one.pages(one.footer.groups[0])
    page = int(np.flatnonzero(pages.columns_of()[pages.ranges_of()] == column)[0])
    begin, size = int(pages.offsets[page]), int(pages.sizes[page])
    data = bytearray(source.read_bytes())
    at, value = wrong
    data[begin + at : begin + at + 4 + 4 * (at == 0)] = value.to_bytes(4 + 4 * (at == 0), "little")
    data[begin + size : begin + size + 8] = xxh3_64_digest(bytes(data[begin : begin + size]))[::-1]
    (tmp_path / "bad.root").write_bytes(data)
    with pytest.raises(CorruptFile, match="'variant' is unsound: it chooses what is not there"):
        split(tmp_path / "bad.root", {"all": tmp_path / "out.root"}, SplitRecipe(identity=("event",)))
    with pytest.raises(CorruptFile, match="'variant' is unsound: it chooses what is not there"):
        merged([tmp_path / "bad.root"], tmp_path / "out.root", "proven")
    assert not (tmp_path / "out.root").exists()


def test_entries_that_no_column_backs_are_refused_before_anything_is_made_for_them(
    small: Path, tmp_path: Path
) -> None:
    more = 1 << 50
    found = opened(small)
    with Image(small) as image:
        pages = read_ntuple(image, read_skeleton(image).newest()["Events"]).pages(found.footer.groups[0])
    pages.entries[-1] += more
    bad = rebuilt(small, tmp_path / "bad.root", pages=pages.encode(found.header.checksum), more=more)
    with Image(bad) as image, pytest.raises(CorruptFile, match="in a cluster that needs"):
        Clusters(read_ntuple(image, read_skeleton(image).newest()["Events"]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"kind": 0x30}, "its type is 0x30, which is not known"), ({"bits": 24}, "no elements of 24 bits")],
)
def test_a_column_of_a_type_that_is_not_known_is_not_taken_apart(
    small: Path, changes: dict[str, Any], words: str
) -> None:
    with Image(small) as image:
        found = read_ntuple(image, read_skeleton(image).newest()["Events"])
        found.schema.columns[1] = replace(found.schema.columns[1], **changes)
        name = found.schema.fields[found.schema.columns[1].field].name
        with pytest.raises(UnsupportedContent, match=f"'{name}' can't be read: .*{words}") as caught:
            Clusters(found)
    assert caught.value.where == f"{small}: Events"
