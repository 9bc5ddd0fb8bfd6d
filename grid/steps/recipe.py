"""The recipe of a production: everything that decides which bytes come out, and nothing else."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from grid.rootio.known_branches import DEFAULT_IDENTITY

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Recipe", "canonical", "differences"]


_WORDS = ("identity", "tree", "keep", "command")


@dataclass(frozen=True, slots=True)
class Recipe:
    """What a production does to each of its inputs.

    Attributes
    ----------
    inputs
        Name of the input dataset, ``scope:name``.
    files
        sha256 over the inputs' names and addresses, when the script named files; "" for a dataset.
    function, script, module
        The user's function and where it lives (see :mod:`grid.steps.usercode`); all "" when there is none.
    command
        The words of an external program's command line, instead of a function; () when there is none.
    conditions
        sha256 of the constants file that the function is given, or "".
    table
        The trigger table as plain JSON, or None: then every event goes to the one stream ``all``.
    merge
        Wanted size of merged files, bytes; 0: outputs are not merged.
    identity
        The branches that identify an event, or ``("entry",)``.
    tree
        The event trees; empty: found by their identity branches.
    keep
        Rules of the keep/drop grammar, in order.
    on_refused
        ``"refuse"`` or ``"drop"``: what happens to a branch that can't be carried.
    compression
        Like ``"zstd:5"``; "" keeps the input's.
    release
        The frozen release that the user names, or "".
    """

    inputs: str
    files: str = ""
    function: str = ""
    script: str = ""
    module: str = ""
    command: tuple[str, ...] = ()
    conditions: str = ""
    table: Mapping[str, Any] | None = None
    merge: int = 0
    identity: tuple[str, ...] = DEFAULT_IDENTITY
    tree: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()
    on_refused: str = "refuse"
    compression: str = ""
    format: str = ""
    release: str = ""

    @property
    def hash(self) -> str:
        """sha256 of the canonical JSON, hex."""
        return hashlib.sha256(canonical(self.to_json())).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON types."""
        answer = asdict(self)
        for key in _WORDS:
            answer[key] = list(answer[key])
        if not self.command:
            del answer["command"]  # so that recipes from before there were commands keep their hash
        return answer

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """Rebuild a recipe; keys and kinds of values that this software does not know are refused (``TypeError``)."""
        values = dict(data)
        for key, value in values.items():
            if not _fits(key, value):
                raise TypeError(f"{key} can't be {value!r}")
        for key in values.keys() & set(_WORDS):
            values[key] = tuple(values[key])
        return cls(**values)


def _fits(key: str, value: Any) -> bool:
    if key in _WORDS:
        return isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in value)
    if key == "table":
        return value is None or isinstance(value, dict)
    if key == "merge":
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return isinstance(value, str)


def canonical(value: Any) -> bytes:
    """Return JSON with sorted keys and no spaces: equal values give equal bytes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def differences(old: Recipe, new: Recipe) -> list[str]:
    """Say in words what differs between two recipes, one line for each setting."""
    lines = []
    for item in fields(Recipe):
        before, after = getattr(old, item.name), getattr(new, item.name)
        if before == after:
            continue
        if item.name == "table":
            lines.append(f"split: {_table(before)} → {_table(after)}")
        elif item.name in ("script", "files", "conditions"):
            lines.append(
                f"{item.name}: its content changed ({before[:12] or 'none'} → {after[:12] or 'none'})"
            )
        else:
            lines.append(f"{item.name}: {before!r} → {after!r}")
    return lines


def _table(table: Mapping[str, Any] | None) -> str:
    if table is None:
        return "none"
    digest = hashlib.sha256(canonical(table)).hexdigest()
    return f"{table.get('name')}/{table.get('tag')} ({digest[:12]})"
