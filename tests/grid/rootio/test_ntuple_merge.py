"""Merging RNTuples by copying their pages: every value where it belongs, nothing wrong let through."""

from __future__ import annotations

import random
import struct
import sys
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st
from xxhash import xxh3_64_digest

from grid.rootio.format.anchors import Anchor
from grid.rootio.format.envelopes import FOOTER, envelope, listed
from grid.rootio.format.ntuples import Footer
from grid.rootio.format.unpack import unpack
from grid.rootio.image import Image
from grid.rootio.merge import MergeOptions, merge
from grid.rootio.ntuple import read_ntuple
from grid.rootio.sink import Sink
from grid.rootio.structure import read_skeleton
from grid.rootio.verbatim.inputs import Input
from grid.rootio.verbatim.ntuple_copier import NTupleCopier
from grid.rootio.verify import verify
from sitecfg.errors import CorruptFile, GridError, SchemaMismatch, UnsupportedContent
from tests.grid.rootio.fuzz_table import ntuple
from tests.grid.rootio.judge import hadd, needs_root, run
from tests.grid.rootio.making import nano

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from grid.rootio.merging import MergeReport
    from grid.rootio.ntuple import NTuple

MAKER = Path(__file__).with_name("ntuple_maker.py")
REAL = ["nano_dy_rntuple.root", "Run2012BC_DoubleMuParked_Muons_rntuple_1000evts.root"]
#: The head of a block, in which one byte says nothing.
HEAD = 9
#: At most so many fields are compared, spread over all of them.
COMPARED = 20
DEPTHS = ["copied", "sealed", "proven"]


def merged(sources: Sequence[Path], out: Path, depth: str = "sealed", **how: Any) -> MergeReport:
    return merge(sources, out, MergeOptions(verify=depth, **how))


def arrays(path: Path, names: Sequence[str] | None = None) -> dict[str, ak.Array]:
    with uproot.open(path) as file:
        return {name: file["Events"][name].array() for name in names or file["Events"].keys(recursive=False)}


def joined(paths: Sequence[Path], names: Sequence[str] | None = None) -> dict[str, ak.Array]:
    parts = [arrays(path, names) for path in paths]
    return {name: ak.concatenate([part[name] for part in parts]) for name in parts[0]}


#: What uproot takes for something else where a field is encoded in several ways.
MISREAD = ["text", "texts", "pairs"]


def same(found: dict[str, ak.Array], wanted: dict[str, ak.Array]) -> None:
    assert set(found) == set(wanted)
    for name, array in wanted.items():
        assert ak.array_equal(found[name], array, equal_nan=True, dtype_exact=False), name


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("name", REAL)
def test_real_files_are_merged_value_by_value(real_data: Path, tmp_path: Path, name: str, depth: str) -> None:
    sources = [real_data / name] * 2
    report = merged(sources, tmp_path / "out.root", depth)
    assert report.verified == depth
    assert (report.output.fingerprint is not None) == (depth != "copied" and name == REAL[0])
    found = 40 if name == REAL[0] else 1022 if depth == "proven" else 0
    assert report.duplicates.events == (0 if depth == "copied" else found)
    verify(tmp_path / "out.root")
    if depth == "sealed":
        with uproot.open(real_data / name) as file:
            names = file["Events"].keys(recursive=False)
        names = names[:: len(names) // COMPARED + 1]
        same(arrays(tmp_path / "out.root", names), joined(sources, names))


def test_a_merge_of_merges_is_the_merge(real_data: Path, tmp_path: Path) -> None:
    one = real_data / REAL[1]
    for out in ("two.root", "again.root"):
        merged([one] * 2, tmp_path / out)
    assert (tmp_path / "two.root").read_bytes() == (tmp_path / "again.root").read_bytes()
    merged([tmp_path / "two.root", one], tmp_path / "three.root")
    same(arrays(tmp_path / "three.root"), joined([one] * 3))


# What ROOT writes.


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    run([sys.executable, "-W", "ignore", str(MAKER), str(folder)])
    return folder


#: What is merged: inputs whose fields are the same, if their order, encoding and packing are not.
ALIKE = {
    "packings": ["plain", "next", "groups", "empty", "zlib", "lzma", "lz4", "none", "unsealed"],
    "hadd_takes": ["plain", "groups", "empty", "zlib", "lzma", "next"],
    "empty_first": ["empty", "plain", "empty"],
    "encodings": ["plain", "unsplit", "plain"],
    "orders": ["unsplit", "reversed", "next"],
    "late": ["late", "later", "late0", "late"],
}


@pytest.mark.slow
@pytest.mark.judge
@needs_root
def test_root_reads_what_it_wrote_and_hadd_takes_it(made: Path, tmp_path: Path) -> None:
    for name, sources in ALIKE.items():
        merged([made / f"{source}.root" for source in sources], made / f"{name}.merged.root")
        verify(made / f"{name}.merged.root")
    merged([made / "encodings.merged.root", made / "orders.merged.root"], made / "again.merged.root")
    merged(
        [made / f"{name}.root" for name in ("plain", "late", "empty", "plain")], made / "zeros.merged.root"
    )
    merged([made / f"{name}.root" for name in ("later", "plain")], made / "zeros2.merged.root")
    # ROOT's own tool can take neither pages without checksums nor fields that are encoded in several ways
    hadd("-ff", made / "hadd.merged.root", made / "hadd_takes.merged.root", made / "empty_first.merged.root")
    names = [path.name for path in sorted(made.glob("*.root"))]
    run([sys.executable, "-W", "ignore", str(MAKER), "--show", str(made), *names])

    def shown(name: str) -> str:
        return (made / f"{name}.root.shown").read_text()

    for name, sources in ALIKE.items():
        assert shown(f"{name}.merged") == "".join(map(shown, sources)), name
    assert shown("plain").count('"event"') == 300
    wanted = "".join(map(shown, ALIKE["encodings"] + ALIKE["orders"]))
    assert shown("again.merged") == wanted
    assert shown("hadd.merged") == shown("hadd_takes.merged") + shown("empty_first.merged")
    zeros = 'false"added": 0"added_list": []"added_pair": [0, 0]'
    assert (
        shown("zeros.merged").count(zeros) + shown("zeros.merged").count(zeros.replace("false", "true"))
        == 730
    )
    assert shown("zeros2.merged").startswith(shown("later"))


@pytest.mark.judge
@needs_root
@pytest.mark.parametrize("depth", ["copied", pytest.param("proven", marks=pytest.mark.slow)])
def test_uproot_reads_what_root_wrote(made: Path, tmp_path: Path, depth: str) -> None:
    names = [
        "event",
        "px",
        "HLT_any",
        "text",
        "list",
        "nested",
        "texts",
        "array",
        "pair",
        "pairs",
        "maybe",
        "nlist",
    ]
    for name, sources in ALIKE.items():
        out = tmp_path / f"{name}.root"
        paths = [made / f"{source}.root" for source in sources]
        report = merged(paths, out, depth, identity=("event",))
        assert report.output.events == sum(part.events for part in report.inputs)
        good = [name for name in names if name not in MISREAD or "none" not in sources]
        same(arrays(out, good), joined(paths, good))


@pytest.mark.judge
@needs_root
def test_fields_that_differ_are_all_named(made: Path, tmp_path: Path) -> None:
    for first, second, words in (
        ("plain", "new", "more is new"),
        ("new", "plain", "more is missing"),
        ("typed", "retyped", "changed is std::int32_t, not std::int64_t"),
        ("typed", "new", "changed is missing; more is new"),
    ):
        with pytest.raises(SchemaMismatch, match=words):
            merged([made / f"{first}.root", made / f"{second}.root"], tmp_path / "out.root")
        with pytest.raises(SchemaMismatch):
            merged([made / f"{first}.root", made / f"{second}.root"], tmp_path / "out.root", "proven")
        assert list(tmp_path.iterdir()) == []


@pytest.mark.judge
@needs_root
def test_fields_that_were_added_late_are_told(made: Path, tmp_path: Path) -> None:
    paths = [made / "plain.root", made / "late.root"]
    for depth in DEPTHS:
        report = merged(paths, tmp_path / f"{depth}.root", depth, identity=("event",))
        assert "is the first with added, added_list, added_pair" in "".join(report.notes)
        found = arrays(tmp_path / f"{depth}.root", ["event", "added", "added_list"])
        assert not found["added"][:430].to_numpy().any()
        assert (found["added"][430:] == found["event"][430:]).to_numpy().all()
        assert not ak.num(found["added_list"])[:430].to_numpy().any()


# What contradicts itself.


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
        "its blocks end early|longer than what|bytes follow|larger than it|no algorithm": changed(
            sizes=(0, -1)
        ),
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
        pytest.param("made", "list", ("event",), marks=[pytest.mark.judge, needs_root]),
        pytest.param("made", "text", ("event",), marks=[pytest.mark.judge, needs_root]),
        pytest.param("made", "nested", ("event",), marks=[pytest.mark.judge, needs_root]),
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


@pytest.mark.judge
@needs_root
@pytest.mark.parametrize("name", ALIKE)
def test_pages_are_proven_as_they_are_copied(made: Path, tmp_path: Path, name: str) -> None:
    sources = [made / f"{source}.root" for source in ALIKE[name]]
    report = merged(sources, tmp_path / "out.root", "proven", identity=("event",))
    assert report.output.fingerprint is not None
    assert {one.content for one in report.inputs} == {None}  # no other value was read
    plain = merged(sources, tmp_path / "plain.root", "sealed", identity=("event",))
    assert report.output.trees == plain.output.trees
    assert report.output.fingerprint == plain.output.fingerprint
    assert report.duplicates == plain.duplicates
    assert report.covered is not None
    assert plain.covered is not None
    assert report.covered >= plain.covered
    verify(tmp_path / "out.root")


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


def test_files_of_any_size_are_written(real_data: Path, tmp_path: Path) -> None:
    with Sink(tmp_path / "out.root", big_from=300) as sink:
        copier = NTupleCopier(sink, depth="sealed")
        for _ in range(2):
            with Input(real_data / REAL[1]) as source:
                copier.add(source, ["Events"])
        copier.finish()
        copier.check(tmp_path / "out.root", int(sink.close().adler32, 16))
    same(arrays(tmp_path / "out.root"), joined([real_data / REAL[1]] * 2))


@pytest.mark.parametrize("depth", DEPTHS)
def test_ntuples_in_directories_are_merged_each_by_its_path(tmp_path: Path, depth: str) -> None:
    for name, first in (("a", 0), ("b", 400)):
        with uproot.recreate(tmp_path / f"{name}.root") as file:
            event = np.arange(first, first + 400)
            file.mkrntuple("deep/down/Events", {"run": np.ones(400, "u4"), "event": event})
            file.mkrntuple("More", {"x": event * 1.5})
    sources, out = [tmp_path / "a.root", tmp_path / "b.root"], tmp_path / "out.root"
    both = ("deep/down/Events", "More")
    report = merged(sources, out, depth, event_trees=both, identity=("event",))
    assert report.output.trees == dict.fromkeys(both, 800)
    with uproot.open(out) as file:
        assert file["More"]["x"].array().tolist() == (np.arange(800) * 1.5).tolist()
        assert file["deep/down/Events"]["event"].array().tolist() == list(range(800))
    verify(out)
    out.unlink()
    with pytest.raises(UnsupportedContent, match="RNTuple that holds no events") as caught:
        merged(sources, out, depth, event_trees=both[:1], identity=("event",))
    assert caught.value.where == f"{sources[0]}: More"
    assert not out.exists()
    report = merged(sources, out, depth, event_trees=both[:1], identity=("event",), on_refused="drop")
    assert [(path, name) for path, name, _ in report.dropped_branches] == [("More", "")]
    assert report.output.trees == {"deep/down/Events": 800}


def test_a_tree_is_no_ntuple(small: Path, tmp_path: Path) -> None:
    nano(tmp_path / "tree.root", 10)
    for depth in DEPTHS:
        with pytest.raises(SchemaMismatch):
            merged([small, tmp_path / "tree.root"], tmp_path / "out.root", depth)
        with pytest.raises(SchemaMismatch):
            merged([tmp_path / "tree.root", small], tmp_path / "out.root", depth)
        assert not (tmp_path / "out.root").exists()
