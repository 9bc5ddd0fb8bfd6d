"""Logical names, ``scope:name``: this is the only place that spells them.

The rules are Rucio's, made a little stricter so that a name is also a safe file name: the scope has 1 to 25
characters of ``A-Z a-z 0-9 _ . -`` and doesn't begin with ``.`` or ``-``; the name has 1 to 200 characters of
the same set and begins with a letter or digit. There is no ``/``. 200 leaves room for the suffix of a
physical file below the usual limit of 255.

Names that we make can be told apart again: a stream has no ``.``, and neither a production nor a stream
contains ``--``, which stands before the input's name. So two different (production, stream, input) never
get one spelling. Where the plain spelling is too long or could be read in two ways, a hash of the full
one is part of the name.

::

    cdf:reco-pass1.A                      the dataset of stream A
    cdf:reco-pass1.A.unmerged             what the process jobs wrote, before the merge
    cdf:reco-pass1.A.withdrawn            what was merged, and taken back later
    reco-pass1.A--raw_0001.root           stream A of the input raw_0001.root
    reco-pass1.A.0003-5f0c…2a.root        the merged file number 3
    reco-pass1.A--raw_0001.root.e2.5f0c71aa.root    the bytes that runner 5f0c71aa wrote in epoch 2
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from difflib import SequenceMatcher
from hashlib import blake2b
from typing import TYPE_CHECKING, Final, Self

from sitecfg.errors import BadName

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = [
    "Name",
    "check_production",
    "check_stream",
    "declared_files",
    "merged_file",
    "near",
    "output_dataset",
    "output_file",
    "physical_name",
    "unmerged_dataset",
    "withdrawn_dataset",
    "withdrawn_file",
]

SCOPE_LIMIT: Final = 25
NAME_LIMIT: Final = 200
PRODUCTION_LIMIT: Final = 100
STREAM_LIMIT: Final = 60
UNMERGED: Final = "unmerged"
WITHDRAWN: Final = "withdrawn"

_SCOPE: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
_STREAM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*", re.ASCII)
_RUNNER: Final = re.compile(r"[A-Za-z0-9]{8}", re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Name:
    """A logical name; being one means that it is legal.

    Raises
    ------
    BadName
        The scope or the name breaks a rule; the message says which.
    """

    scope: str
    name: str

    def __post_init__(self) -> None:
        _check(self.scope, "scope", _SCOPE, SCOPE_LIMIT)
        _check(self.name, "name", _NAME, NAME_LIMIT)

    def __str__(self) -> str:
        return f"{self.scope}:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``scope:name``."""
        scope, colon, name = text.partition(":")
        if not colon:
            raise BadName(
                "a logical name is written scope:name", where=repr(text), todo="put a scope before it"
            )
        return cls(scope, name)


def check_production(name: str) -> str:
    """Return a production's name, if it is legal: a name of at most 100 characters without ``--``."""
    _check(name, "production", _NAME, PRODUCTION_LIMIT)
    return _no_double_dash(name, "production")


def check_stream(name: str) -> str:
    """Return a stream's name, if it is legal: at most 60 of ``A-Z a-z 0-9 _ -``, without ``--``."""
    _check(name, "stream", _STREAM, STREAM_LIMIT)
    if name in (UNMERGED, WITHDRAWN):
        raise BadName(
            f"{name!r} can't name a stream: it marks datasets of another kind", todo="choose another name"
        )
    return _no_double_dash(name, "stream")


def output_dataset(scope: str, production: str, stream: str) -> Name:
    """Name the dataset that holds a production's merged output of one stream."""
    return Name(scope, f"{check_production(production)}.{check_stream(stream)}")


def unmerged_dataset(scope: str, production: str, stream: str) -> Name:
    """Name the dataset that holds what the process jobs wrote for one stream."""
    return Name(scope, f"{check_production(production)}.{check_stream(stream)}.{UNMERGED}")


def withdrawn_dataset(scope: str, name: str) -> Name:
    """Name the dataset to which the withdrawn files of a dataset go."""
    return Name(scope, f"{name}.{WITHDRAWN}")


def withdrawn_file(name: str, number: int) -> str:
    """Name a withdrawn file, so that what comes instead can have its name."""
    return _fit("", name.removesuffix(".root"), f".w{number}.root", unique=None)


def output_file(production: str, stream: str, input_name: str) -> str:
    """Name the file of one stream that a process job makes out of one input, given by its name."""
    head = f"{check_production(production)}.{check_stream(stream)}--"
    stem = input_name.removesuffix(".root")
    plain = input_name.endswith(".root") and bool(stem)
    return _fit(head, stem or "input", ".root", unique=None if plain else input_name)


def merged_file(production: str, stream: str, inputs: Sequence[str], number: int) -> str:
    """Name a merged file: its number for people, and a hash of its inputs (in their order) for uniqueness."""
    if not inputs:
        raise BadName("a merged file needs the names of its inputs", where=f"{production}.{stream}")
    head = f"{check_production(production)}.{check_stream(stream)}."
    return f"{head}{number:04d}-{_hash(*inputs, length=12)}.root"


def physical_name(logical: str, epoch: int, runner: str) -> str:
    """Name the bytes of one attempt at a logical file; never used twice, as a runner never is.

    ``runner`` is the attempt's start token; its first eight characters are used.
    """
    _check(logical, "name", _NAME, NAME_LIMIT)
    token = runner[:8]
    if epoch < 0 or not _RUNNER.fullmatch(token):
        raise BadName(f"epoch {epoch} and start token {runner!r} can't name a file", where=logical)
    return f"{logical}.e{epoch}.{token}.root"


def declared_files(places: Iterable[str]) -> dict[str, str]:
    """Name files that others wrote by the last part of their path or URL; returns place -> name, in order.

    Files of one call that share their last part (``a/1.root``, ``b/1.root``), and those whose last part is no
    legal name, get a hash of the whole place into their name. The same places give the same names.
    """
    unique = list(dict.fromkeys(places))
    last = {place: place.rstrip("/").split("?")[0].rpartition("/")[2] for place in unique}
    twins = Counter(last.values())
    return {place: _declared(name, place if twins[name] > 1 else None) for place, name in last.items()}


def near(name: str, candidates: Iterable[str], *, limit: int = 5) -> list[str]:
    """Return the candidates that look like ``name``, best first: for "did you mean"."""
    wanted = name.casefold()
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(wanted)
    ranked = []
    for candidate in dict.fromkeys(candidates):
        folded = candidate.casefold()
        matcher.set_seq1(folded)
        holds = len(wanted) >= 3 and (wanted in folded or (len(folded) >= 3 and folded in wanted))
        floor = 0.5 if holds else 0.65
        # The two quick bounds spare the full comparison for most of a menu of a thousand paths.
        if not holds and (matcher.real_quick_ratio() < floor or matcher.quick_ratio() < floor):
            continue
        swapped = sorted(folded) == sorted(wanted)  # 42 typed for 24
        score = matcher.ratio() + (0.3 if holds else 0.05 if swapped else 0.0)
        if score >= floor:
            ranked.append((-score, candidate))
    return [candidate for _, candidate in sorted(ranked)[:limit]]


def _declared(last: str, place: str | None) -> str:
    clean = re.sub(r"[^A-Za-z0-9_.-]", "_", last, flags=re.ASCII)
    if not re.match(r"[A-Za-z0-9]", clean):
        clean = f"file{clean}"
    stem, dot, kind = clean.rpartition(".")
    suffix = f".{kind}" if dot and stem and len(kind) <= 8 else ""
    stem = clean.removesuffix(suffix) if suffix else clean
    return _fit("", stem, suffix, unique=place if place is not None else None if clean == last else last)


def _fit(head: str, stem: str, suffix: str, *, unique: str | None) -> str:
    """Join the parts; when ``unique`` is given or the result is too long, a hash goes before the suffix."""
    whole = f"{head}{stem}{suffix}"
    if unique is None and len(whole) <= NAME_LIMIT:
        return Name("scope", whole).name
    mark = f"-{_hash(head, stem, suffix, unique or '', length=16)}{suffix}"
    return Name("scope", whole[: len(head) + len(stem)][: NAME_LIMIT - len(mark)] + mark).name


def _hash(*parts: str, length: int) -> str:
    digest = blake2b(digest_size=length // 2)
    for part in parts:
        encoded = part.encode("utf-8", "surrogateescape")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()


def _check(text: str, what: str, rule: re.Pattern[str], limit: int) -> None:
    if not text:
        raise BadName(f"a {what} can't be empty")
    if len(text) > limit:
        raise BadName(
            f"a {what} has at most {limit} characters, this one has {len(text)}", where=text[:60] + "…"
        )
    if not rule.fullmatch(text):
        odd = sorted({c for c in text if not rule.fullmatch("A" + c)})
        reason = f"contains {', '.join(map(repr, odd))}" if odd else f"can't begin with {text[0]!r}"
        raise BadName(
            f"the {what} {reason}", where=repr(text), todo="use A-Z a-z 0-9 _ - and (not in streams) ."
        )


def _no_double_dash(name: str, what: str) -> str:
    if "--" in name:
        raise BadName(
            f"a {what} can't contain '--': it stands before the input's name", where=name, todo="use '-'"
        )
    return name
