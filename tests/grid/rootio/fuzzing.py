"""Verify, split and merge damaged files, and judge the answers; a process of its own, for it may hang or crash.

``python -m tests.grid.rootio.fuzzing SCRATCH FILE FIRST LAST [FILE FIRST LAST ...]`` says for each mutation
what is done to the file, and then, as a line of JSON, what came of it.
"""

from __future__ import annotations

import faulthandler
import json
import os
import resource
import sys
import traceback
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grid.rootio.merge import MergeOptions, merge
from grid.rootio.source import open_source
from grid.rootio.split import SplitRecipe, split
from grid.rootio.verify import verify
from sitecfg.errors import GridError
from tests.grid.rootio.covered import covered
from tests.grid.rootio.mutations import changed, mutate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

#: Seconds after which a mutation hangs.
PATIENCE = 30
#: Bytes beyond which nothing can be allocated, and beyond which too much memory was really taken.
LIMIT, BOUND = 2 << 30, 400 << 20

Answer = list[Any]


@dataclass
class Verdict:
    """What came of a mutation: ``refused``, ``same`` (answer) or ``other``, for each of the three."""

    file: str
    number: int
    done: str
    covered: bool
    verify: str = ""
    split: str = ""
    merge: str = ""
    wrong: list[str] = field(default_factory=list)


class Fuzz:
    """One file, and what is true of it."""

    def __init__(self, path: Path, scratch: Path) -> None:
        self.name, self.whole, self.scratch = path.name, path.read_bytes(), scratch
        self.victim = scratch / "damaged.root"
        self.sound = scratch / "sound.root"
        self.sound.write_bytes(self.whole)
        try:
            self.covered = covered(path)
            verify(path)
        except GridError:
            self.covered = set()
        self.steps: dict[str, Callable[[Path], Answer]] = {
            "verify": self._verify,
            "split": self._split,
            "merge": self._merge,
        }
        self._right: dict[str, Answer | None] = {}
        self.memory = memory()

    def __call__(self, number: int) -> Verdict:
        done, data = mutate(self.whole, self.name, number)
        sys.stdout.write(f"{self.name} {number}: {done}\n")
        sys.stdout.flush()
        self.victim.unlink(missing_ok=True)
        self.victim.write_bytes(data)
        verdict = Verdict(self.name, number, done, changed(self.whole, data) <= self.covered)
        for step, do in self.steps.items():
            faulthandler.dump_traceback_later(PATIENCE, exit=True)
            what, answer = self._try(partial(do, self.victim), verdict.wrong)
            faulthandler.cancel_dump_traceback_later()
            if step == "verify":
                what = "same" if what == "accepted" else what
            elif what == "accepted" or (what == "refused" and verdict.verify == "same"):
                # what the sound file is refused for, too, is no damage
                what = "same" if answer == self.right(step) else "refused" if answer is None else "other"
            setattr(verdict, step, what)
        if verdict.covered and "other" in {verdict.split, verdict.merge}:
            verdict.wrong.append("a checksum covers all that was changed, and another answer was given")
        if (grown := memory() - self.memory) > BOUND:
            verdict.wrong.append(f"it took {grown >> 20} MB")
        return verdict

    def right(self, step: str) -> Answer | None:
        """Return what a step answers to the sound file; ``None`` if it refuses it."""
        if step not in self._right:
            try:
                self._right[step] = self.steps[step](self.sound)
            except GridError:
                self._right[step] = None
        return self._right[step]

    def _try(self, do: Callable[[], Answer], wrong: list[str]) -> tuple[str, Answer | None]:
        try:
            return "accepted", do()
        except GridError as error:
            if str(self.victim) not in str(error) and not self._sound_is_refused(error):
                wrong.append(f"the file is not named: {error!r}")
            if "MemoryError" in str(error):
                wrong.append(f"it asked for too much memory: {error!r}")
            return "refused", None
        except Exception:  # noqa: BLE001  # it goes on: the verdict carries it
            wrong.append(traceback.format_exc())
            return "failed", None
        finally:
            if left := {path.name for path in self.scratch.iterdir()} - {self.victim.name, self.sound.name}:
                wrong.append(f"left behind: {left}")

    def _sound_is_refused(self, error: GridError) -> bool:
        """Whether a merge stopped at the other input, which can't be merged itself."""
        return str(self.sound) in str(error) and self.right("merge") is None

    def _verify(self, path: Path) -> Answer:
        verify(path, threads=1)
        return []

    def _split(self, path: Path) -> Answer:
        out = self.scratch / "out.root"
        recipe = SplitRecipe(identity=("entry",), on_refused="drop", format="ttree")
        report = split(path, {"all": out}, recipe, origin="0" * 32)
        return read(out, report.dropped_branches)

    def _merge(self, path: Path) -> Answer:
        out = self.scratch / "out.root"
        report = merge([self.sound, path], out, MergeOptions(on_refused="drop", format="ttree"))
        return read(out, report.dropped_branches)


def read(path: Path, dropped: Sequence[tuple[str, ...]]) -> Answer:
    """Return every value of an output, and what was left out; the output goes."""
    found: Answer = [sorted(dropped)]
    with open_source(path) as source:
        for tree, info in source.trees.items():
            columns = source.read(tree, [branch.name for branch in info.branches], 0, info.entries)
            for branch in info.branches:
                column = columns[branch.name]
                levels = [offsets.tobytes() for offsets in column.offsets]
                found.append((tree, branch.name, info.entries, column.values.tobytes(), levels))
    path.unlink()
    return found


def memory() -> int:
    """Return the most memory that this process ever had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def main() -> None:
    scratch, *words = sys.argv[1:]
    for path, first, last in zip(words[::3], words[1::3], words[2::3], strict=True):
        fuzz = Fuzz(Path(path), Path(scratch))
        size = int(Path("/proc/self/statm").read_text("utf-8").split()[0]) * os.sysconf("SC_PAGESIZE")
        resource.setrlimit(resource.RLIMIT_AS, (size + LIMIT, resource.RLIM_INFINITY))
        for number in range(int(first), int(last)):
            sys.stdout.write(json.dumps(asdict(fuzz(number))) + "\n")


if __name__ == "__main__":
    main()
