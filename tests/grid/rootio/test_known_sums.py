"""What the catalog knows of inputs is held against them, in whatever way they are merged."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pytest

from grid.rootio.checksums import checksum_file
from grid.rootio.merge import merge
from grid.rootio.merging import MergeOptions
from sitecfg.errors import CorruptFile
from tests.grid.rootio.making import nano

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _trees(folder: Path, _: Path) -> list[Path]:
    for number in (0, 1):
        nano(folder / f"{number}.root", 30, seed=number, first=30 * number)
    return [folder / "0.root", folder / "1.root"]


def _ntuples(_: Path, real: Path) -> list[Path]:
    return [real / "nano_dy_rntuple.root"] * 2


def _objects(_: Path, real: Path) -> list[Path]:
    return [real / "uproot-hepdata-example.root"] * 2


WAYS: dict[str, tuple[Callable[[Path, Path], list[Path]], MergeOptions]] = {
    "baskets": (_trees, MergeOptions(verify="sealed")),
    "values": (_trees, MergeOptions(compression="zstd:1")),
    "pages": (_ntuples, MergeOptions(verify="sealed")),
    "objects": (_objects, MergeOptions(on_refused="drop")),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("what", ["bytes", "adler32", "xxh3"])
def test_an_input_that_the_catalog_knows_otherwise_is_refused(
    real_data: Path, tmp_path: Path, way: str, what: str
) -> None:
    make, options = WAYS[way]
    paths = make(tmp_path, real_data)
    known: list[dict[str, Any]] = [asdict(checksum_file(path)) for path in paths]
    merge(paths, tmp_path / "right.root", options, known=known)
    known[1][what] = 5 if what == "bytes" else "0" * len(known[1][what])
    with pytest.raises(CorruptFile, match=f"its {what} is .*, the catalog has") as caught:
        merge(paths, tmp_path / "out.root", options, known=known)
    assert caught.value.where == str(paths[1])
    assert not (tmp_path / "out.root").exists()
    known[1][what] = None  # it doesn't know
    merge(paths, tmp_path / "again.root", options, known=known)
