"""What should exist next for a production: a pure function of what the catalog says.

No clock, no I/O, no randomness: :func:`plan` is given every input of a production and what has become of
it, and answers with the jobs that are missing and the state that the production is in. The same facts give
the same answer, and jobs are named by what they work on, so that repeating an answer changes nothing.

The order of events in a production::

    intake of every input ──► compare inputs that share run sections ──► process ──► merge, stream by stream
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "Compare",
    "Fate",
    "Input",
    "Merge",
    "Output",
    "Plan",
    "Process",
    "Standing",
    "group_outputs",
    "plan",
    "sharing",
]


class Fate(StrEnum):
    """What has become of a piece of work."""

    #: No job exists yet.
    ABSENT = "absent"
    #: A job is ready or leased: wait for it.
    WAITING = "waiting"
    #: The job's result is committed.
    DONE = "done"
    #: A person has to look at it; nothing waits for it meanwhile.
    HELD = "held"


class Standing(StrEnum):
    """The state of a production as its plan sees it."""

    #: Jobs are running, ready, or about to be made.
    ACTIVE = "active"
    #: Every input went through and every output is merged.
    COMPLETE = "complete"
    #: Nothing more will happen by itself: held jobs or bad files wait for an operator.
    STALLED = "stalled"


@dataclass(frozen=True, slots=True)
class Input:
    """An input file of a production.

    Attributes
    ----------
    name
        Logical name ``scope:name``.
    intake
        Fate of the check that the file goes through when it is declared; HELD also when the file is bad.
    process
        Fate of the production's process job for it.
    sections
        The run sections it holds, ``(run, section)``.
    why
        What is wrong with it, where its intake is HELD.
    """

    name: str
    intake: Fate
    process: Fate = Fate.ABSENT
    sections: tuple[tuple[int, int], ...] = ()
    why: str = ""

    @property
    def order(self) -> tuple[tuple[int, int], str]:
        """Where the file stands: by first run section, then by name; files without sections come last."""
        return (min(self.sections, default=(2**63, 0)), self.name)


@dataclass(frozen=True, slots=True)
class Output:
    """An unmerged output of one input in one stream; `taken` when a merge job has it."""

    name: str
    source: str
    stream: str
    bytes: int
    taken: bool = False


@dataclass(frozen=True, slots=True)
class Compare:
    """Make a job that compares these inputs event by event."""

    key: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Process:
    """Make the process job of this input."""

    file: str


@dataclass(frozen=True, slots=True)
class Merge:
    """Make a job that merges these outputs of a stream, in this order."""

    key: str
    stream: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """The jobs to make, and how the production stands once they are made."""

    standing: Standing
    compare: tuple[Compare, ...] = ()
    process: tuple[Process, ...] = ()
    merge: tuple[Merge, ...] = ()
    reasons: tuple[str, ...] = field(default=())


def plan(
    inputs: Sequence[Input],
    outputs: Sequence[Output],
    *,
    streams: Sequence[str],
    compared: Mapping[str, Fate],
    merges_waiting: int = 0,
    merges_held: int = 0,
    target: int | None,
    max_inputs: int = 1000,
) -> Plan:
    """Decide which jobs a production needs next.

    Parameters
    ----------
    inputs
        Every input file with its fates.
    outputs
        Every unmerged output that is committed.
    streams
        The production's streams, in the table's order.
    compared
        Fate of each compare job, by its key.
    merges_waiting, merges_held
        Merge jobs that are ready or leased, and held.
    target
        Size of merged files in bytes; None leaves the outputs as they are.
    max_inputs
        The most outputs that one merge job reads.

    Returns
    -------
    Plan
        Process jobs appear only when every input has been taken in and the inputs that share run sections
        have been compared; merge jobs as described at :func:`group_outputs`.
    """
    if any(one.intake in (Fate.ABSENT, Fate.WAITING) for one in inputs):
        return Plan(Standing.ACTIVE)
    good = [one for one in inputs if one.intake is Fate.DONE]
    reasons = [f"{one.name} {one.why or 'is bad'}" for one in inputs if one.intake is Fate.HELD]

    groups = [Compare(_key(files), files) for files in sharing(good)]
    new_compare = tuple(group for group in groups if compared.get(group.key, Fate.ABSENT) is Fate.ABSENT)
    barred: set[str] = set()
    unsettled = bool(new_compare)
    for group in groups:
        fate = compared.get(group.key, Fate.ABSENT)
        if fate is not Fate.DONE:
            barred.update(group.files)
        if fate is Fate.HELD:
            reasons.append(f"{len(group.files)} inputs hold the same events")
        unsettled |= fate is Fate.WAITING

    new_process = tuple(
        Process(one.name) for one in good if one.process is Fate.ABSENT and one.name not in barred
    )
    reasons += [f"the job for {one.name} is held" for one in good if one.process is Fate.HELD]
    running = bool(new_process) or any(one.process is Fate.WAITING for one in good) or unsettled

    new_merge: list[Merge] = []
    if target is not None:
        by_source = {(out.source, out.stream): out for out in outputs}
        will_come = {
            one.name
            for one in good
            if one.process is Fate.WAITING
            or (one.process is Fate.ABSENT and (one.name not in barred or unsettled))
        }
        for stream in streams:
            new_merge += group_outputs(
                stream,
                [
                    (by_source.get((one.name, stream)), one.name in will_come)
                    for one in sorted(good, key=lambda one: one.order)
                ],
                target=target,
                max_inputs=max_inputs,
            )
    if merges_held:
        reasons.append(f"{merges_held} merge jobs are held")
    running |= bool(new_merge) or merges_waiting > 0
    standing = Standing.ACTIVE if running else Standing.STALLED if reasons else Standing.COMPLETE
    return Plan(standing, new_compare, new_process, tuple(new_merge), tuple(reasons))


def sharing(files: Iterable[Input]) -> list[tuple[str, ...]]:
    """Group the files that share run sections, directly or through others; only groups of two and more.

    Returns
    -------
    list of tuple of str
        Names in order within each group; groups in order of their first name.
    """
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader[name] != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    first: dict[tuple[int, int], str] = {}
    for one in sorted(files, key=lambda one: one.name):
        leader[one.name] = one.name
        for section in one.sections:
            other = first.setdefault(section, one.name)
            a, b = find(other), find(one.name)
            leader[max(a, b)] = min(a, b)
    groups: dict[str, list[str]] = defaultdict(list)
    for name in leader:
        groups[find(name)].append(name)
    return [tuple(names) for _, names in sorted(groups.items()) if len(names) > 1]


def group_outputs(
    stream: str, sequence: Sequence[tuple[Output | None, bool]], *, target: int, max_inputs: int = 1000
) -> list[Merge]:
    """Cut a stream's outputs into the files that it is merged to.

    Parameters
    ----------
    stream
        The stream's name.
    sequence
        For every input in run-section order: its output in this stream if that is committed, and whether
        it is still to come.
    target
        Wanted size of a merged file, bytes.
    max_inputs
        The most outputs that go into one file.

    Returns
    -------
    list of Merge
        A group is closed when the next output would carry it past `target`, when it has `max_inputs`, or when
        nothing more comes. An
        input that is still to come stops the search: what lies behind it waits, so that files stay in order
        of run sections and a group never depends on which worker was first. An input that is held or bad is
        passed over; what it yields later makes a file of its own. Only a single output can be larger than
        `target`. Outputs that a merge job has taken stay where they are.
    """
    groups: list[Merge] = []
    names: list[str] = []
    size = 0

    def close() -> None:
        nonlocal names, size
        if names:
            groups.append(Merge(f"{stream}/{_key(names)}", stream, tuple(names)))
        names, size = [], 0

    for output, to_come in sequence:
        if output is None:
            if to_come:
                return groups
            continue
        if output.taken:
            close()
            continue
        if names and (size + output.bytes > target or len(names) == max_inputs):
            close()
        names.append(output.name)
        size += output.bytes
    close()
    return groups


def _key(names: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:24]
