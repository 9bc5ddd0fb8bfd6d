"""Splitting RNTuples into RNTuples: any field, every stream what its events say, nothing wrong let through."""

from __future__ import annotations

import random
import re
import sys
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.rootio.facts import file_facts
from grid.rootio.gather import clusterfill, fields, ntuple
from grid.rootio.image import Image
from grid.rootio.ntuple import read_ntuple
from grid.rootio.split import SplitRecipe, split
from grid.rootio.structure import read_skeleton
from grid.rootio.verify import verify
from grid.trigger import TriggerTable
from sitecfg.errors import ClosureError, CorruptFile, GridError, UnsupportedContent
from tests.grid.rootio.judge import hadd, needs_root, run
from tests.grid.rootio.ntuples import MAKER, REAL, arrays, merged, same

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from grid.rootio.gather.clusterfill import StreamFill

EVENT = ("event",)
PATHS = ("HLT_a", "HLT_b", "HLT_c")
#: At most so many fields are compared, spread over all of them.
COMPARED = 40


def table(**streams: tuple[str, ...]) -> TriggerTable:
    return TriggerTable(name="TEST", tag=1, streams=streams)


def cut(source: Path, folder: Path, streams: Mapping[str, tuple[str, ...]], **how: Any) -> dict[str, Path]:
    """Split a file; each output is sound, and its facts are those that were reported."""
    outs = {name: folder / f"{name}.root" for name in streams}
    report = split(source, outs, SplitRecipe(table=table(**streams), **how))
    assert report.dropped_branches == ()
    for output in report.outputs:
        verify(output.path)
        facts = file_facts(output.path, **{key: how[key] for key in how if key == "identity"})
        assert (output.fingerprint, output.sections, output.trees) == (
            facts.fingerprint,
            facts.sections,
            facts.trees,
        )
    return outs


def written(path: Path, parts: int, size: int, seed: int = 1) -> dict[str, NDArray[np.bool_]]:
    """Write an RNTuple of some clusters and another one beside it; return the trigger bits."""
    draw = np.random.default_rng(seed)
    n = parts * size
    bits = {name: draw.random(n) < share for name, share in zip(PATHS, (0.9, 0.3, 0.01), strict=True)}
    counts = draw.integers(0, 4, n)
    fields = {
        "run": np.ones(n, "u4"),
        "luminosityBlock": np.arange(n, dtype="u4") // 50,
        "event": np.arange(n, dtype="u8"),
        **bits,
        "x": draw.normal(size=n).astype("f4"),
        "small": draw.integers(-100, 100, n).astype("i2"),
        "pt": ak.unflatten(draw.exponential(20, counts.sum()).astype("f4"), counts),
        "deep": ak.unflatten(ak.unflatten(np.arange(2 * counts.sum()), np.full(counts.sum(), 2)), counts),
        "text": ak.Array(["x" * (i % 5) for i in range(n)]),
    }
    with uproot.recreate(path) as file:
        made = file.mkrntuple("Events", {name: array[:size] for name, array in fields.items()})
        for at in range(size, n, size):
            made.extend({name: array[at : at + size] for name, array in fields.items()})
        file.mkrntuple("Runs", {"run": np.ones(1, "u4"), "weight": np.ones(1)})
    return bits


@pytest.mark.slow
@pytest.mark.parametrize("compression", [None, "zlib:1"])
def test_every_field_of_a_real_file_splits(tmp_path: Path, real_data: Path, compression: str | None) -> None:
    source = real_data / REAL[0]
    menu = file_facts(source).menu
    streams = {"odd": tuple(menu[::2]), "all": tuple(menu)}
    outs = cut(source, tmp_path, streams, compression=compression)
    with uproot.open(source) as file:
        bits = {path: file["Events"][path].array(library="np") for path in menu}
        names = file["Events"].keys(recursive=False)
    before = arrays(source, names[:: len(names) // COMPARED + 1])
    for name, paths in streams.items():
        fired = np.any([bits[path] for path in paths], axis=0)
        same(arrays(outs[name], list(before)), {field: array[fired] for field, array in before.items()})


@settings(deadline=None, max_examples=15)
@given(
    parts=st.integers(1, 5),
    size=st.integers(1, 80),
    seed=st.integers(0, 99),
    streams=st.dictionaries(
        st.sampled_from("abcd"), st.sets(st.sampled_from(PATHS), min_size=1).map(tuple), min_size=1
    ),
    compression=st.sampled_from([None, "zstd:1", "none"]),
    limits=st.sampled_from([(1 << 28, 1 << 20, 1 << 20, 1 << 18), (700, 64, 900, 5), (300, 8, 1, 1)]),
)
def test_random_files_are_cut_as_awkward_says(
    tmp_path_factory: pytest.TempPathFactory,
    parts: int,
    size: int,
    seed: int,
    streams: dict[str, tuple[str, ...]],
    compression: str | None,
    limits: tuple[int, int, int, int],
) -> None:
    """Whatever is unpacked at once, and however small pages, clusters and lists of pages are."""
    folder = tmp_path_factory.mktemp("split")
    source = folder / "in.root"
    bits = written(source, parts, size, seed)
    with pytest.MonkeyPatch.context() as patch:
        for module, name, value in zip(
            (fields, ntuple, ntuple, clusterfill),
            ("_SECTION", "_LARGEST", "_CLUSTER", "_LISTED"),
            limits,
            strict=True,
        ):
            patch.setattr(module, name, value)
        patch.setattr(ntuple, "_SMALLEST", min(limits[1], 4096))
        outs = cut(source, folder, streams, compression=compression)
    before = arrays(source)
    for name, paths in streams.items():
        fired = np.any([bits[path] for path in paths], axis=0)
        same(arrays(outs[name]), {field: array[fired] for field, array in before.items()})
        with uproot.open(outs[name]) as file:
            assert file["Runs"]["weight"].array().tolist() == [1.0]


def test_a_narrow_stream_has_clusters_and_pages_of_the_usual_size(tmp_path: Path) -> None:
    bits = written(tmp_path / "in.root", 20, 1000)
    outs = cut(tmp_path / "in.root", tmp_path, {"narrow": ("HLT_c",), "wide": ("HLT_a",)})
    with uproot.open(outs["narrow"]) as file:
        assert file["Events"].num_entries == bits["HLT_c"].sum()
        assert len(file["Events"].cluster_summaries) == 1
    with uproot.open(outs["wide"]) as file:
        assert 1 < len(file["Events"].cluster_summaries) < 20


# What ROOT writes.

#: Files whose fields are encoded, packed and laid out in all ways.
WAYS = [
    "plain",
    "groups",
    "empty",
    "zlib",
    "lzma",
    "lz4",
    "none",
    "unsealed",
    "unsplit",
    "late",
    "late0",
    "odd",
]


@pytest.mark.slow
@pytest.mark.judge
@needs_root
def test_root_reads_what_it_wrote(of_root: Path, tmp_path: Path) -> None:
    """Fields that were added late, representations that differ from cluster to cluster, variants, and all else."""
    merged([of_root / f"{name}.root" for name in ("plain", "unsplit", "late")], of_root / "mixed.root")
    for name in (*WAYS, "mixed"):
        outs = cut(of_root / f"{name}.root", tmp_path, {"some": ("HLT_any",)}, identity=EVENT)
        outs["some"].rename(of_root / f"some_{name}.root")
    shown = [f"{before}{name}.root" for name in (*WAYS, "mixed") for before in ("", "some_")]
    hadd("-ff", of_root / "added.root", of_root / "some_plain.root", of_root / "some_groups.root")
    run([sys.executable, "-W", "ignore", str(MAKER), "--show", str(of_root), *shown, "added.root"])
    # the maker sets the bit of every third event
    for name in (*WAYS, "mixed"):
        whole = entries(of_root / f"{name}.root.shown")
        some = [one for one in whole if int(re.findall(r'"event": (\d+)', one)[0]) % 3 == 0]
        assert entries(of_root / f"some_{name}.root.shown") == some
        assert len(some) == (0 if name == "empty" else len(whole) // 3)
    both = [one for name in ("plain", "groups") for one in entries(of_root / f"some_{name}.root.shown")]
    assert entries(of_root / "added.root.shown") == both


def entries(path: Path) -> list[str]:
    """Return what ROOT shows of each entry, the last line of which is the variant's."""
    found = [""]
    for line in path.read_text().splitlines(keepends=True):
        found[-1] += line
        if line.startswith("variant "):
            found.append("")
    return found[:-1]


@pytest.mark.judge
@needs_root
def test_streams_merge_again(of_root: Path, tmp_path: Path) -> None:
    outs: list[Path] = []
    for name in ("plain", "next"):
        (tmp_path / name).mkdir()
        outs += cut(
            of_root / f"{name}.root", tmp_path / name, {"some": ("HLT_any",)}, identity=EVENT
        ).values()
    report = merged(outs, tmp_path / "out.root", "proven", identity=EVENT)
    assert report.output.trees == {"Events": 200}
    assert report.duplicates.events == 0


# What is wrong.


@pytest.mark.judge
@needs_root
@pytest.mark.parametrize("name", ["plain", "late"])
def test_a_flipped_bit_is_found_or_changes_nothing(of_root: Path, tmp_path: Path, name: str) -> None:
    """All pages have checksums there."""
    source, bad, streams = of_root / f"{name}.root", tmp_path / "bad.root", {"some": ("HLT_any",)}
    want = arrays(cut(source, tmp_path, streams, identity=EVENT)["some"])
    sound, chance, found = source.read_bytes(), random.Random(name), 0
    for number in range(60):
        data = bytearray(sound)
        data[chance.randrange(300, len(data))] ^= 1 << chance.randrange(8)
        bad.write_bytes(data)
        folder = tmp_path / str(number)
        folder.mkdir()
        try:
            outs = cut(bad, folder, streams, identity=EVENT)
        except GridError:
            found += 1
            assert list(folder.iterdir()) == []
        else:
            same(arrays(outs["some"]), want)
    assert found > 30


def test_a_page_with_another_checksum_is_found(tmp_path: Path) -> None:
    """Its own values are sound, so that nothing else finds it."""
    written(tmp_path / "in.root", 1, 200)
    cut(tmp_path / "in.root", tmp_path, {"all": PATHS})
    with Image(tmp_path / "all.root") as image:
        one = read_ntuple(image, read_skeleton(image).newest()["Events"])
        pages = one.pages(one.footer.groups[0])
    data = bytearray((tmp_path / "all.root").read_bytes())
    data[int(pages.offsets[-1] + pages.sizes[-1])] ^= 1
    (tmp_path / "bad.root").write_bytes(data)
    with pytest.raises(CorruptFile, match="xxh3 does not match") as caught:
        split(tmp_path / "bad.root", {"all": tmp_path / "out.root"}, SplitRecipe())
    assert "a page at" in caught.value.where


def lose(fill: StreamFill) -> None:
    del fill._pages[3][0]


def exchange(fill: StreamFill) -> None:
    pages = fill._pages
    pages[0], pages[1] = pages[1], pages[0]


def repeat(fill: StreamFill) -> None:
    fill._pages[2] *= 2


@pytest.mark.parametrize("fault", [lose, exchange, repeat])
def test_what_went_wrong_in_writing_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Callable[[StreamFill], None]
) -> None:
    written(tmp_path / "in.root", 1, 200)
    sound = clusterfill.StreamFill.end_cluster

    def faulty(fill: StreamFill) -> None:
        if len(fill._pages) > 2:
            fault(fill)
        sound(fill)

    monkeypatch.setattr(clusterfill.StreamFill, "end_cluster", faulty)
    with pytest.raises((ClosureError, CorruptFile)):
        split(tmp_path / "in.root", {"all": tmp_path / "out.root"})
    assert not (tmp_path / "out.root").exists()


def test_values_that_went_wrong_in_packing_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's checksum is right, for it was made of the wrong values."""
    written(tmp_path / "in.root", 1, 200)
    from grid.rootio.format.elements import Coding

    sound = Coding.encode

    def faulty(coding: Coding, rows: NDArray[np.uint8]) -> bytes:
        rows = rows.copy()
        if coding.width == 2:
            rows[7, 0] ^= 1
        return sound(coding, rows)

    monkeypatch.setattr(Coding, "encode", faulty)
    with pytest.raises(ClosureError, match="'small' does not hold what was gathered for it"):
        split(tmp_path / "in.root", {"all": tmp_path / "out.root"})
    assert not (tmp_path / "out.root").exists()


def test_what_would_change_fields_is_refused(tmp_path: Path) -> None:
    written(tmp_path / "in.root", 1, 50)
    for recipe in (SplitRecipe(keep=("drop x",)), SplitRecipe(identity=("entry",))):
        with pytest.raises(UnsupportedContent, match="its fields are written as they are") as caught:
            split(tmp_path / "in.root", {"all": tmp_path / "out.root"}, recipe)
        assert "ttree" in str(caught.value)
