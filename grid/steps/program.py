"""Run somebody else's program on an input file: it gets a path to read and a path to write, and nothing is believed.

It runs in the payload's process group and scratch folder, so it is watched, limited and killed with it, and what it
prints stands in the attempt's log. There is no shell: words are passed as they are.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from grid.storage.steady import mark
from sitecfg.errors import InputError, UsageError, UserCodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

__all__ = ["Command", "at_fault", "run_program", "signal_name"]

#: Seconds between two looks at what the program has written.
_LOOK_EVERY_S = 0.5
#: What stands for the paths in a command line.
_INPUT, _OUTPUT, _CONDITIONS = "{input}", "{output}", "{conditions}"
_PLACES = re.compile("|".join(map(re.escape, (_INPUT, _OUTPUT, _CONDITIONS))))


@dataclass(frozen=True, slots=True)
class Command:
    """An external program as a production's ``process``.

    >>> Command("reco --threads 2 {input} {output}").words
    ('reco', '--threads', '2', '{input}', '{output}')

    The program reads the ROOT file ``{input}`` and writes the ROOT file ``{output}``, and ends with exit code 0. It may
    drop events, change their order, and write any branches; the identifying ones must stay. ``{conditions}``, if it
    stands there, becomes the path of the production's constants file. The streams of an event are those of the input.

    Parameters
    ----------
    line
        The command line, cut into words as a shell would; there is no shell, so ``|``, ``>`` and ``$`` mean nothing.

    Raises
    ------
    UsageError
        The line lacks ``{input}`` or ``{output}``, or its quotes don't match.
    """

    line: str

    def __post_init__(self) -> None:
        """Refuse what can't run."""
        words = self.words
        missing = [one for one in (_INPUT, _OUTPUT) if not any(one in word for word in words)]
        if missing or not words or any(one in words[0] for one in (_INPUT, _OUTPUT, _CONDITIONS)):
            raise UsageError(
                f"a command names a program, {_INPUT} and {_OUTPUT}",
                where=f"Command({self.line!r})",
                todo='write it like Command("reco {input} {output}")',
            )

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the command line."""
        try:
            return tuple(shlex.split(self.line))
        except ValueError as error:
            raise UsageError(
                f"it can't be cut into words: {error}", where=f"Command({self.line!r})"
            ) from error


def run_program(
    words: Sequence[str],
    source: Path,
    target: Path,
    *,
    conditions: Path | None = None,
    progress: Callable[[int, int], None],
) -> None:
    """Run a program and wait for its end; what it writes counts as progress.

    Raises
    ------
    UserCodeError
        The program isn't here, ended with another code than 0 or by a signal, made no file, or wrote to its input.
    """
    paths = {_INPUT: str(source), _OUTPUT: str(target), _CONDITIONS: str(conditions or "")}
    filled = [_filled(word, paths) for word in words]
    where = shlex.join(filled)
    program = shutil.which(filled[0])
    if program is None:
        raise UserCodeError(
            f"the program {filled[0]!r} is not on this machine",
            where=where,
            todo="install it at this site, or give its absolute path",
        )
    target.unlink(missing_ok=True)
    before = mark(source)
    code = _end_of([program, *filled[1:]], target, where, progress)
    if not source.exists() or mark(source) != before:
        raise UserCodeError(
            "the program wrote to its input, or removed it",
            where=where,
            todo="have the file checked: grid audit --deep",
        )
    if code:
        ended = f"was killed by {signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        raise UserCodeError(f"the program {ended}", where=where, todo="see its last lines in the log")
    if not target.is_file():
        raise UserCodeError(f"the program made no file {target.name}", where=where)


def _end_of(words: list[str], target: Path, where: str, progress: Callable[[int, int], None]) -> int:
    """Start a program, tell progress while it lives, and return how it ended."""
    try:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL)
    except (OSError, ValueError) as error:
        raise UserCodeError(
            f"the program can't be started: {error}",
            where=where,
            todo="give a binary for this machine, or a script whose first line names its interpreter",
        ) from error
    with process:
        while True:
            try:
                return process.wait(_LOOK_EVERY_S)
            except subprocess.TimeoutExpired:
                written = _size(target) + os.fstat(1).st_size
                progress(written, written + 1)


@contextmanager
def at_fault(target: Path | None, source: Path) -> Iterator[None]:
    """Lay what is wrong with the program's file at the program's door, not at its input's.

    Raises
    ------
    UserCodeError
        Something is wrong with `target`. It is named with `source`: it lies in a scratch folder, and goes with it.
    """
    try:
        yield
    except (InputError, UserCodeError) as error:
        if target is None or not error.where.startswith(str(target)):
            raise
        broke_a_rule = isinstance(error, UserCodeError)
        raise UserCodeError(
            error.what if broke_a_rule else f"what the program wrote can't be used: {error.what}",
            where=f"{source}: {target.name}{error.where.removeprefix(str(target))}",
            todo=error.todo if broke_a_rule else "see its last lines in the log",
            **error.facts,
        ) from error


def signal_name(number: int) -> str:
    """Return what a signal is called; those between the real-time signals' first and last have no names."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _filled(word: str, paths: dict[str, str]) -> str:
    """Put the paths in, in one go: a path may itself hold what stands for another one."""
    return _PLACES.sub(lambda place: paths[place[0]], word)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
