"""The `grid` command called in this process, a home with a farm, and what uproot finds in files."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from grid.production import Production

#: Retries come at once, and few of them: what fails in a test is to fail soon.
SETTINGS = """
[workers]
number = 2
slots = 1
memory = "1 GB"

[lease]
seconds = "6 s"
grace = "1 s"

[pool]
reserve = "1 MB"

[retry.payload]
retries = 1
first_delay = "0 s"

[retry.corrupt]
first_delay = "0 s"

[retry.books]
first_delay = "0 s"

[retry.missing]
retries = 1
first_delay = "0 s"

[retry.oom]
retries = 0

[retry.killed]
first_delay = "0 s"
longest_delay = "0 s"
"""


@dataclass(frozen=True)
class Answer:
    """What a call of the command said, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def grid(*words: object, code: int | None = 0) -> Answer:
    """Call the real command in this process; it must end with `code` (None: any)."""
    from grid.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    ended: Any = 0
    before = signal.getsignal(signal.SIGPIPE)
    with (
        mock.patch.object(sys, "argv", ["grid", *map(str, words)]),
        mock.patch.object(sys, "unraisablehook", sys.unraisablehook),
        mock.patch.dict(os.environ),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            ended = end.code
        finally:
            signal.signal(signal.SIGPIPE, before)
    answer = Answer(ended or 0, out.getvalue(), err.getvalue())
    assert code is None or answer.code == code, f"exit {answer.code}\n{answer.out}\n{answer.err}"
    return answer


class House:
    """A home, and the command called for it."""

    def __init__(self, home: Path) -> None:
        self.home = home

    def __call__(self, *words: object, code: int | None = 0) -> Answer:
        return grid("--home", self.home, *words, code=code)

    def scripted(self, folder: Path, text: str) -> list[Production]:
        """Write a script and return its productions."""
        from grid.cli.run import find_productions

        folder.mkdir(parents=True, exist_ok=True)
        script = folder / "script.py"
        script.write_text(text)
        return find_productions(script)

    def submit(self, *productions: Production) -> None:
        from grid.production import connect

        with connect(self.home) as connection:
            for one in productions:
                connection.submit(one)

    def watch(self, name: str, seconds: float = 120.0) -> dict[str, Any]:
        """Wait until a production is over and return its report."""
        from grid.production import Submitted, connect

        with connect(self.home) as connection:
            submitted = Submitted(connection.client, name, new=False)
            until(lambda: submitted.progress().over, seconds)
            return submitted.report().facts

    def run(self, production: Production, seconds: float = 120.0) -> dict[str, Any]:
        self.submit(production)
        return self.watch(production.name, seconds)

    def files(self, dataset: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self("ls", dataset, "--json").json
        return found

    def paths(self, dataset: str) -> list[Path]:
        """Where the files of a dataset lie, in order of their names."""
        from grid.storage.fetch import local_path

        found = [local_path(one["urls"][0]) for one in self.files(dataset)]
        return [path for path in found if path is not None]

    def log_of(self, name: str) -> str:
        """Everything that `grid log` says of the held jobs of a production."""
        report = self("status", name, "--json").json["report"]
        return "\n".join(self("log", one["job"]).out for one in report["held"])


def until(what: Callable[[], Any], seconds: float = 30.0) -> Any:
    """Wait for something to become true and return it."""
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        assert time.monotonic() < deadline, f"{what} did not happen within {seconds} s"
        time.sleep(0.02)
    return answer


def tree_of(folder: Path) -> dict[str, bytes | None]:
    """Everything below a folder: file contents by name, None for folders."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


# --- what uproot and numpy say -------------------------------------------------------------------------------------

IDENTITY = ("run", "luminosityBlock", "event")


def identities(paths: Iterable[Path], tree: str = "Events") -> list[tuple[int, ...]]:
    """The identities of all events, in the order of the files."""
    found: list[tuple[int, ...]] = []
    for path in paths:
        columns = [column.tolist() for column in read(path, tree, IDENTITY)]
        found += zip(*columns, strict=True)
    return found


def read(path: Path, tree: str, names: Sequence[str]) -> list[np.ndarray[Any, Any]]:
    """Some branches of a tree, as uproot reads them."""
    status = path.stat()
    return _read(path, (status.st_ino, status.st_size, status.st_mtime_ns), tree, tuple(names))


@functools.lru_cache(1000)
def _read(path: Path, _stamp: object, tree: str, names: tuple[str, ...]) -> list[np.ndarray[Any, Any]]:
    """Small files are asked for again and again."""
    import uproot

    with uproot.open(path) as file:
        return [file[tree][name].array(library="np") for name in names]


def fired(paths: Iterable[Path], names: Sequence[str], tree: str = "Events") -> np.ndarray[Any, Any]:
    """Whether any of some trigger paths fired, for every event."""
    parts = [np.zeros(0, np.bool_)]
    for path in paths:
        bits = read(path, tree, names)
        parts.append(np.logical_or.reduce(bits) if len(bits[0]) else np.zeros(0, np.bool_))
    return np.concatenate(parts)


def expected_streams(
    paths: Sequence[Path], streams: Mapping[str, Sequence[str]]
) -> tuple[dict[str, set[tuple[int, ...]]], int, list[list[int]]]:
    """The identities in each stream, the number of events in none, and the overlap matrix."""
    everything = identities(paths)
    bits = {name: fired(paths, of) for name, of in streams.items()}
    sets = {name: {everything[i] for i in np.flatnonzero(flags)} for name, flags in bits.items()}
    nowhere = int((~np.logical_or.reduce(list(bits.values()))).sum()) if bits else 0
    overlap = [[int((a & b).sum()) for b in bits.values()] for a in bits.values()]
    return sets, nowhere, overlap


def record(path: Path) -> dict[str, Any]:
    """The provenance record that a file carries."""
    import uproot

    with uproot.open(path) as file:
        answer: dict[str, Any] = json.loads(str(file["mdcgrid"]))
        return answer


@contextlib.contextmanager
def changed(path: Path, change: Callable[[bytearray], Any]) -> Iterator[None]:
    """Change a file's bytes for a while."""
    whole = path.read_bytes()
    broken = bytearray(whole)
    change(broken)
    path.write_bytes(broken)
    try:
        yield
    finally:
        path.write_bytes(whole)


@contextlib.contextmanager
def closed_to_me(path: Path) -> Iterator[None]:
    """Let nobody read a file or enter a folder for a while, root neither."""
    mode, user = path.stat().st_mode, os.geteuid()
    path.chmod(0)
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)
        path.chmod(mode)


def flip(broken: bytearray) -> None:
    """Flip one bit in the middle."""
    broken[len(broken) // 2] ^= 1
