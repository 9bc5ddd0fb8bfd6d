"""Files to measure with, made by ROOT once and kept: those of ``benchmarks/samples.C``."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from grid.rootio.format.blocks import Compression

if TYPE_CHECKING:
    from collections.abc import Callable

MACRO: Final = Path(__file__).with_name("samples.C")
#: Bytes that an event has on average once it is packed, to know how many events fill a file.
EVENT: Final = {
    ("nano", "lz4"): 1890,
    ("nano", "zstd"): 1295,
    ("nano", "zlib"): 1517,
    ("nano", "lzma"): 968,
    ("nano", "none"): 5644,
    ("nano ntuple", "zstd"): 697,
    ("raw", "lz4"): 1154,
    ("raw", "zstd"): 845,
    ("raw", "zlib"): 894,
    ("raw", "lzma"): 773,
    ("raw", "none"): 1739,
    ("raw ntuple", "zstd"): 643,
    ("objects", "lz4"): 549,
}
#: So many events take longer than starting ROOT.
_MANY: Final = 2000
#: How a tree is packed that is made into an RNTuple: lz4:1.
_FAST: Final = 401
#: What the process that has ROOT in it does: a macro, and calls of its functions.
_CALLS: Final = """
import json, sys, warnings
warnings.simplefilter("ignore")
import ROOT
ROOT.gErrorIgnoreLevel = ROOT.kWarning
ROOT.gROOT.LoadMacro(sys.argv[1])
for name, *arguments in json.load(sys.stdin):
    getattr(ROOT.samples, name)(*arguments)
"""


@dataclass(frozen=True)
class Sample:
    """Files of different events.

    Parameters
    ----------
    kind
        ``nano`` or ``raw``, each also as ``... ntuple``; ``objects``; ``wide``.
    codec
        How they are packed, as in ``lz4:4``.
    files, events
        How many files, and how many events in each.
    branches
        Of ``wide``, so many; of ``nano``, at most so many.
    """

    kind: str
    codec: str
    files: int
    events: int
    branches: int = 1500

    @classmethod
    def of_bytes(cls, kind: str, codec: str, files: int, size: float) -> Sample:
        """Return the sample whose files have about so many bytes together."""
        each = size / files / EVENT[kind, codec.partition(":")[0]]
        return cls(kind, codec, files, max(200, int(each)))


class Samples:
    """A folder in which samples are kept, for as long as the macro that made them stays as it is.

    Parameters
    ----------
    folder
        Where.
    nano
        Finds a small real NanoAOD file; called when one is needed.
    """

    def __init__(self, folder: Path, nano: Callable[[], Path]) -> None:
        made_by = hashlib.sha256(MACRO.read_bytes()).hexdigest()[:12]
        for other in folder.iterdir():
            if other.name != made_by:
                shutil.rmtree(other)
        self._folder = folder / made_by
        self._nano = nano

    def files(self, sample: Sample) -> list[Path]:
        """Return the files of a sample, which are made if they aren't there."""
        name = f"{sample.kind} {sample.codec} {sample.events} {sample.branches}".replace(":", "-")
        folder = self._folder / name.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{number}.root" for number in range(sample.files)]
        missing = [number for number, path in enumerate(paths) if not path.exists()]
        # ROOT takes seconds to start: for little work one will do
        processes = min(len(missing), os.cpu_count() or 1 if sample.events > _MANY else 1)
        with ThreadPoolExecutor(max(1, processes)) as pool:
            shares = [missing[share::processes] for share in range(processes)]
            list(pool.map(lambda share: self._make(sample, paths, share), shares))
        return paths

    def _make(self, sample: Sample, paths: list[Path], numbers: list[int]) -> None:
        """Make some of the files in a process with ROOT in it; each gets its name when it is whole."""
        word = Compression.parse(sample.codec).word
        kind, _, as_ntuple = sample.kind.partition(" ")
        calls: list[list[object]] = []
        for number in numbers:
            _part(paths[number]).unlink(missing_ok=True)  # that a killed run has left
            out, tree = str(_part(paths[number])), str(_part(paths[number], ".tree"))
            source = [str(self._nano())] if kind == "nano" else []
            branches = [sample.branches] if kind in {"nano", "wide"} else []
            events = [number * sample.events, sample.events]
            if as_ntuple:
                calls.append([kind, tree, _FAST, *events, *source, *branches])
                calls.append(["ntuple", out, word, tree])
            else:
                calls.append([kind, out, word, *events, *source, *branches])
        command = [sys.executable, "-c", _CALLS, str(MACRO)]
        subprocess.run(command, input=json.dumps(calls), text=True, check=True, stdout=subprocess.DEVNULL)
        for number in numbers:
            _part(paths[number], ".tree").unlink(missing_ok=True)
            _part(paths[number]).rename(paths[number])


def _part(path: Path, suffix: str = "") -> Path:
    """Return the name of a file that isn't whole yet."""
    return path.with_name(f".{path.name}{suffix}")
