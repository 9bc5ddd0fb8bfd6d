"""Do the books of events close? Pure functions of counts and hashes: no database, no clock.

An event-set fingerprint and a content sum are hex strings of 64-bit words; each word adds mod 2^64, in any
order. So what went into a step is known to have come out of it by adding, without opening a file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_WORD = 1 << 64

#: Fingerprint of no events.
NOTHING = "0" * 32


@dataclass(frozen=True, slots=True)
class Tally:
    """A number of events, their fingerprint, and the sum of their contents; None where unknown."""

    events: int
    fingerprint: str | None
    content: str | None = None


def add_hex(first: str, second: str) -> str:
    """Add two fingerprints (or content sums) word by word mod 2^64; the shorter is taken as padded with 0."""
    width = max(len(first), len(second))
    a, b = first.ljust(width, "0"), second.ljust(width, "0")
    return "".join(
        f"{(int(a[i : i + 16], 16) + int(b[i : i + 16], 16)) % _WORD:016x}" for i in range(0, width, 16)
    )


def total(tallies: Iterable[Tally]) -> Tally:
    """Add tallies; what is unknown in one is unknown in the sum."""
    events, fingerprint, content = 0, NOTHING, NOTHING
    known_fingerprint = known_content = True
    for one in tallies:
        events += one.events
        known_fingerprint &= one.fingerprint is not None
        known_content &= one.content is not None
        fingerprint = add_hex(fingerprint, one.fingerprint or "")
        content = add_hex(content, one.content or "")
    return Tally(events, fingerprint if known_fingerprint else None, content if known_content else None)


def in_stream(books: Mapping[int, Tally], bit: int) -> Tally:
    """Add the books of the masks that contain a stream: what the stream's output must hold."""
    return total(tally for mask, tally in books.items() if mask >> bit & 1)


def process(
    source: Tally, books: Mapping[int, Tally], dropped: Tally, outputs: Mapping[int, Tally]
) -> list[str]:
    """Check a process step: each event of the input is booked once, and each stream holds what is booked.

    Parameters
    ----------
    source
        What the input file holds. Its fingerprint may be unknown; then events are only counted.
    books
        What was booked for each stream mask that occurs (mask 0: events in no stream).
    dropped
        What the user's code dropped.
    outputs
        What each stream's output holds, by the stream's bit.

    Returns
    -------
    list of str
        A sentence for each thing that is wrong; empty when the books close.
    """
    booked = total([*books.values(), dropped])
    wrong = _differences("the input", Tally(source.events, source.fingerprint), "the books", booked)
    streams = sum(1 << bit for bit in outputs)
    wrong += [f"mask {mask:#x} has streams without an output" for mask in books if mask & ~streams]
    for bit, output in sorted(outputs.items()):
        wrong += _differences(
            "the books of the stream",
            in_stream(books, bit),
            "the output",
            output,
            strict=True,
            label=f"stream {bit}: ",
        )
    return wrong


def merge(sources: Sequence[Tally], output: Tally) -> list[str]:
    """Check a merge: the output holds the events of its inputs, each once, with unchanged contents."""
    return _differences("the inputs", total(sources), "the output", output, strict=True)


def sections(events: int, parts: Sequence[tuple[int, int, int]]) -> list[str]:
    """Check that a file's events are those of its run sections ``(run, section, events)``, if it has any.

    Each section is told once: its events are one number.
    """
    if len({part[:2] for part in parts}) < len(parts):
        return ["a run section is told twice"]
    booked = sum(part[2] for part in parts)
    if parts and booked != events:
        return [f"the run sections hold {booked} events, the file {events}"]
    return []


def _differences(
    name_a: str, a: Tally, name_b: str, b: Tally, *, strict: bool = False, label: str = ""
) -> list[str]:
    """Say how two tallies differ. `strict`: a fingerprint that only one side has is a difference too."""
    if a.events != b.events:
        return [f"{label}{name_a}: {a.events} events, {name_b}: {b.events}"]
    if strict and (a.fingerprint is None) != (b.fingerprint is None):
        return [f"{label}{name_a if a.fingerprint is None else name_b}: the fingerprint is missing"]
    if _differ(a.fingerprint, b.fingerprint):
        return [f"{label}{name_a} and {name_b} have the same number of events ({a.events}), but other events"]
    if _differ(a.content, b.content):
        return [f"{label}{name_a} and {name_b} have the same events ({a.events}), but with other contents"]
    return []


def _differ(a: str | None, b: str | None) -> bool:
    return a is not None and b is not None and add_hex(a, NOTHING) != add_hex(b, NOTHING)
