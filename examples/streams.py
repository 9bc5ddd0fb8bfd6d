"""Split real ROOT files by trigger bit into streams, merge each stream, and prove that no event was lost.

    grid run examples/streams.py

takes the CMS NanoAOD files in the folder that $MDCGRID_REAL_DATA names (or in ../shared/data), one production for
each family of files with the same trigger menu. Where there are none it makes a small sample and runs on that.
"""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

from grid import Production
from grid.mock.sample import make_sample
from grid.rootio.menu import file_menu
from grid.trigger import TriggerTable, menu_hash

SAMPLE = Path(os.environ.get("MDCGRID_HOME", "grid-data")) / "sample"
REAL = (
    Path(os.environ.get("MDCGRID_REAL_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    / "root"
)
NANO = ("nano_dy.root", "nano_dy_empty.root", "nano_tt_v15.root", "Run2012B_SingleMu_1000.root")


def input_files() -> list[Path]:
    """The real files, or a sample that is made once."""
    if real := [REAL / name for name in NANO if (REAL / name).is_file()]:
        return real
    if not SAMPLE.exists():
        unfinished = SAMPLE.with_name(f"sample.{os.getpid()}")
        make_sample(unfinished)
        unfinished.rename(SAMPLE)
    return sorted(SAMPLE.glob("*.root"))


def families(files: list[Path]) -> dict[str, list[Path]]:
    """Files by the trigger menu that they carry."""
    found: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        found[menu_hash(file_menu(file))].append(file)
    return found


productions = [
    Production(
        name=f"streams-{files[0].stem}",
        input=files,
        split=TriggerTable.from_menu(f"FAMILY_{digest[:8]}", 1, file_menu(files[0])),
        merge="1 GB",
        scope="example",
    )
    for digest, files in families(input_files()).items()
]
