"""What happens after an attempt failed: the failure catalogue and the one decision that it is for.

The catalogue is data (``failures.toml``; a site changes single values under ``[retry.CLASS]``). The decision
is a pure function of the class of the failure and of how often the job has failed with it. Classes that are
not the job's fault (a lost lease, a kill) are tried again without end and never hold a job.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from sitecfg.errors import ConfigError
from sitecfg.units import parse_seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["FAULTLESS", "Action", "Change", "Decision", "Rule", "decide", "shipped", "with_changes"]

#: Classes that are never the job's fault. Their retries can't be limited.
FAULTLESS: Final = frozenset({"lease", "killed"})
_UNKNOWN: Final = "internal"


class Action(StrEnum):
    """What is done with a job whose attempt failed."""

    RETRY = "retry"
    """It is ready again after a delay."""
    HOLD = "hold"
    """It waits for an operator."""
    QUARANTINE = "quarantine"
    """It waits for an operator, and its input file is marked bad so that nothing else reads it."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One class of failure. ``retries`` is None where they are unlimited; delays are in seconds."""

    failure: str
    retries: int | None
    then: Action
    first_delay: float
    longest_delay: float
    why: str


@dataclass(frozen=True, slots=True)
class Change:
    """What a site changes in a rule; None keeps the shipped value, ``retries=-1`` means unlimited."""

    retries: int | None = None
    then: Action | None = None
    first_delay: float | None = None
    longest_delay: float | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do now. ``delay_s`` counts from the failure and is zero unless the action is RETRY."""

    action: Action
    delay_s: float
    why: str


@cache
def shipped() -> Mapping[str, Rule]:
    """Return the catalogue as it was shipped, by class; read once, can't be changed."""
    text = files("sitecfg").joinpath("failures.toml").read_text("utf-8")
    rules = {
        failure: Rule(
            failure=failure,
            retries=None if row["retries"] == "unlimited" else int(row["retries"]),
            then=Action(row["then"]),
            first_delay=parse_seconds(row["first_delay"]),
            longest_delay=parse_seconds(row["longest_delay"]),
            why=row["why"],
        )
        for failure, row in tomllib.loads(text).items()
    }
    return MappingProxyType(rules)


def with_changes(changes: Mapping[str, Change]) -> Mapping[str, Rule]:
    """Return the shipped catalogue with a site's changes.

    Raises
    ------
    ConfigError
        A class doesn't exist, or a class that is never the job's fault would get limited retries.
    """
    rules = dict(shipped())
    for failure, change in changes.items():
        if failure not in rules:
            raise ConfigError(f"there is no failure class {failure!r}", todo=f"use one of {', '.join(rules)}")
        rules[failure] = changed = _changed(rules[failure], change)
        if failure in FAULTLESS and changed.retries is not None:
            raise ConfigError(
                f"retries of {failure!r} can't be limited",
                todo="leave them unlimited: kills and lost leases are not the job's fault",
            )
    return MappingProxyType(rules)


def decide(failure: str, attempts_of_class: int, rules: Mapping[str, Rule] | None = None) -> Decision:
    """Decide what happens to a job. Pure: no clock, no randomness.

    Parameters
    ----------
    failure
        The class of the failure. One that isn't in the catalogue is treated as ``internal``.
    attempts_of_class
        How many attempts of this job have failed with this class since an operator last freed it, the
        present one included (so 1 is the first failure).
    rules
        The catalogue; the shipped one by default.
    """
    known = shipped() if rules is None else rules
    rule = known.get(failure) or known[_UNKNOWN]
    why = rule.why if failure in known else f"{failure!r} is no class of the failure catalogue. {rule.why}"
    if rule.retries is not None and attempts_of_class > rule.retries:
        return Decision(rule.then, 0.0, why)
    # 2**60 s is beyond any longest delay; the bound keeps the power finite for a job that was killed forever.
    doublings = min(max(attempts_of_class - 1, 0), 60)
    return Decision(Action.RETRY, min(rule.first_delay * 2.0**doublings, rule.longest_delay), why)


def _changed(rule: Rule, change: Change) -> Rule:
    retries = rule.retries if change.retries is None else None if change.retries < 0 else change.retries
    first = rule.first_delay if change.first_delay is None else change.first_delay
    longest = rule.longest_delay if change.longest_delay is None else change.longest_delay
    return replace(
        rule,
        retries=retries,
        then=change.then or rule.then,
        first_delay=first,
        longest_delay=max(first, longest),
    )
