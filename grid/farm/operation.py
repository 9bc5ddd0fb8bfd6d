"""What an operator asks of a home, as transactions: pause, resume, prioritize, cancel, withdraw, invalidate, close.

Each names a production, or a file as ``scope:name``, and answers with what it did. All are idempotent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from catalog import control, files, find, productions, withdrawal
from catalog.states import DatasetState, FileState
from sitecfg.errors import UsageError
from sitecfg.names import Name

if TYPE_CHECKING:
    from collections.abc import Callable

    from catalog.engine import Transaction
    from catalog.rows import File
    from catalog.withdrawal import Withdrawal

__all__ = ["OPERATIONS"]


def pause(tx: Transaction, what: str, why: str) -> dict[str, Any]:
    """Start nothing more of it; what runs comes to its end."""
    if ":" in what:
        return {"paused": control.pause_file(tx, _file(tx, what))}
    return {"paused": control.pause(tx, productions.get(tx, what), _said(why))}


def resume(tx: Transaction, what: str) -> dict[str, Any]:
    """Let it go on."""
    if ":" in what:
        return {"resumed": control.resume_file(tx, _file(tx, what))}
    return {"resumed": control.resume(tx, productions.get(tx, what))}


def priority(tx: Transaction, what: str, priority: int) -> dict[str, Any]:
    """Claim its jobs before those of less priority."""
    if ":" in what:
        return {"jobs": control.prioritize_file(tx, _file(tx, what), priority)}
    return {"jobs": control.prioritize(tx, productions.get(tx, what), priority)}


def cancel(tx: Transaction, what: str, why: str, withdraw: bool) -> dict[str, Any]:
    """Give up what isn't done: a production, or the use of an input file. What is committed stays, or is withdrawn."""
    if ":" in what:
        if withdraw:
            raise UsageError("a file is not withdrawn", where=what, todo="see: grid invalidate --help")
        return {"cancelled": len(control.retire(tx, _file(tx, what), _said(why))), "withdrawn": []}
    one = productions.get(tx, what)
    cancelled = control.cancel(tx, one, _said(why))
    gone = withdrawal.withdraw(tx, one, _said(why)) if withdraw else None
    return {"cancelled": len(cancelled), "withdrawn": _names(gone) if gone else []}


def invalidate(tx: Transaction, what: str, why: str, file: int | None = None) -> dict[str, Any]:
    """Mark a file bad and withdraw all that was made from it; the planner makes the jobs that replace it.

    `file` is the number that the file of this name had when somebody looked. By now it may be withdrawn and another
    have its name: asking again is then no reason to withdraw that one too.
    """
    bad = _file(tx, what) if file is None else _numbered(tx, what, file)
    gone = withdrawal.consequences(tx, bad)
    answer = {"file": bad.id, "withdrawn": _names(gone), "jobs": len(gone.jobs)}
    withdrawal.invalidate(tx, bad, _said(why))
    return answer


def dataset_state(tx: Transaction, what: str, state: str) -> dict[str, Any]:
    """Open or close a dataset: while it is open, files that are declared in it become jobs."""
    name = Name.parse(what)
    found = find.dataset(tx, name.scope, name.name)
    files.set_dataset_state(tx, found.id, DatasetState(state))
    return {"dataset": what, "state": state, "was": found.state}


#: What the gateway and the command offer, by name.
OPERATIONS: dict[str, Callable[..., dict[str, Any]]] = {
    "pause": pause,
    "resume": resume,
    "priority": priority,
    "cancel": cancel,
    "invalidate": invalidate,
    "dataset": dataset_state,
}


def _file(tx: Transaction, what: str) -> File:
    name = Name.parse(what)
    return find.file(tx, name.scope, name.name)


def _numbered(tx: Transaction, what: str, number: int) -> File:
    found = find.files_by_id(tx, [number]).get(number)
    if found is None or (str(found) != what and found.state != FileState.RETIRED):
        raise UsageError(
            f"file {number} is another", where=what, todo="look again: grid invalidate --dry-run"
        )
    return found


def _said(why: str) -> str:
    if not why.strip():
        raise UsageError("nobody will know why", where="--why", todo="give a reason in a few words")
    return why


def _names(gone: Withdrawal) -> list[str]:
    return [str(one) for one in gone.files]
