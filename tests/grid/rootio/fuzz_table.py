"""The files that are damaged, and the table of what came of it: ``docs/fuzz.md`` shows one.

``python -m tests.grid.rootio.fuzz_table COUNT REAL_FILES`` makes about COUNT mutations and writes the table.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import awkward as ak
import numpy as np
import uproot

from grid.rootio.verify import verify
from sitecfg.errors import GridError
from tests.grid.rootio.making import nano

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

LARGEST = 100_000
HEADS = (
    "file",
    "bytes",
    "of them in no checksum",
    "mutations",
    "refused by verify",
    "refused only by split or merge",
    "accepted, same answer",
    "accepted, other answer",
)
OURS = {"no packing": "none", "zlib": "zlib:1", "lzma": "lzma:1", "lz4": "lz4:1", "zstd": "zstd:1"}
#: Files that take a second or so each time get fewer mutations: this part of what the others get.
SLOW = {
    "nano_dy_rntuple.root": 0.01,
    "nano_dy_empty.root": 0.025,
    "Tuple_1.root": 0.025,
    "Tuple_2.root": 0.025,
    "uproot-stl_containers.root": 0.05,
}


def victims(real: Path, folder: Path) -> list[Path]:
    """Return the real files of at most 100 kB, and files of our own writer and of uproot's."""
    entries = json.loads((real / "MANIFEST.json").read_text("utf-8"))["entries"]
    found = [real / entry["name"] for entry in entries if entry["size"] <= LARGEST]
    for name, compression in OURS.items():
        nano(folder / f"{name}.root", 400, compression=compression, cluster_bytes=4000)
    ntuple(folder / "RNTuple of uproot.root")
    return found + sorted(folder.glob("*.root"))


def ntuple(path: Path, **how: Any) -> None:
    chance = np.random.default_rng(1)
    lists = ak.unflatten(chance.exponential(20, 800), np.full(400, 2))
    with uproot.recreate(path, **how) as file:
        file.mkrntuple("Events", {"run": np.ones(400, "u4"), "event": np.arange(400), "pt": lists})


def shares(paths: Sequence[Path], count: int) -> dict[Path, int]:
    """Return how many mutations each file gets; `count` or a few more in all."""
    weights = {path: SLOW.get(path.name, 1.0) for path in paths}
    return {path: -int(-count * weight // sum(weights.values())) for path, weight in weights.items()}


def fuzz(jobs: Mapping[Path, int], scratch: Path, *, first: int = 0) -> list[dict[str, Any]]:
    """Damage files in a process of its own, and return the verdicts.

    Raises
    ------
    AssertionError
        If that process hung or crashed; the last mutation is named.
    """
    words = [word for path, count in jobs.items() for word in (str(path), str(first), str(first + count))]
    command = [sys.executable, "-m", "tests.grid.rootio.fuzzing", str(scratch), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"{lines[-1:]} ended it with {done.returncode}:\n{done.stderr[-3000:]}"
    return [json.loads(line) for line in lines if line.startswith("{")]


def table(verdicts: Iterable[Mapping[str, Any]], paths: Sequence[Path]) -> str:
    """Return a Markdown table, a row per file."""
    rows: list[tuple[str, ...]] = [HEADS, ("---",) * len(HEADS)]
    found = list(verdicts)
    for path in paths:
        mine = [verdict for verdict in found if verdict["file"] == path.name]
        passed = [verdict for verdict in mine if verdict["verify"] == "same"]
        other = [verdict for verdict in passed if "other" in {verdict["split"], verdict["merge"]}]
        same = [verdict for verdict in passed if verdict["split"] == verdict["merge"] == "same"]
        numbers = (
            len(mine),
            len(mine) - len(passed),
            len(passed) - len(other) - len(same),
            len(same),
            len(other),
        )
        rows.append((path.stem, str(path.stat().st_size), uncovered(path), *map(str, numbers)))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def uncovered(path: Path) -> str:
    try:
        return str(verify(path).bytes_not_covered)
    except GridError as error:
        return f"refused: {type(error).__name__}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as scratch:
        paths = victims(Path(sys.argv[2]), Path(folder))
        verdicts = fuzz(shares(paths, int(sys.argv[1])), Path(scratch))
        sys.stdout.write(table(verdicts, paths) + "\n")
        for verdict in verdicts:
            if verdict["wrong"]:
                sys.stdout.write(json.dumps(verdict) + "\n")


if __name__ == "__main__":
    main()
