"""Which branches to keep: rules such as ``keep *``, ``drop Photon_*``, of which the last that matches wins."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from sitecfg.errors import UsageError
from sitecfg.names import near

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Rule", "kept", "parse"]


@dataclass(frozen=True, slots=True)
class Rule:
    """``keep`` or drop the branches that match `pattern` (``*``, ``?``, ``[...]``; case counts)."""

    keep: bool
    pattern: str

    def __str__(self) -> str:
        return f"{'keep' if self.keep else 'drop'} {self.pattern}"


def parse(rules: Sequence[str]) -> tuple[Rule, ...]:
    """Read rules, one per line; a line may be empty or begin with ``#``.

    Raises
    ------
    UsageError
        Naming every line that is no rule.
    """
    found, wrong = [], []
    for text in rules:
        words = text.split()
        if not words or words[0].startswith("#"):
            continue
        if len(words) == 2 and words[0] in {"keep", "drop"}:
            found.append(Rule(words[0] == "keep", words[1]))
        else:
            wrong.append(repr(text))
    if wrong:
        raise UsageError(
            f"these are no keep/drop rules: {', '.join(wrong)}", todo='write "keep PATTERN" or "drop PATTERN"'
        )
    return tuple(found)


def kept(rules: Sequence[Rule], names: Sequence[str], *, where: str = "") -> set[str]:
    """Return the branches that stay. Without a rule, and for a branch that none matches, that is all of them.

    Raises
    ------
    UsageError
        If a rule matches no branch, with near names.
    """
    for rule in rules:
        if not any(fnmatchcase(name, rule.pattern) for name in names):
            close = ", ".join(near(rule.pattern.strip("*?"), names))
            raise UsageError(
                f'the rule "{rule}" matches no branch',
                where=where,
                todo=f"did you mean {close}?" if close else "take the rule out",
            )
    return {name for name in names if _verdict(rules, name)}


def _verdict(rules: Sequence[Rule], name: str) -> bool:
    return next((rule.keep for rule in reversed(rules) if fnmatchcase(name, rule.pattern)), True)
