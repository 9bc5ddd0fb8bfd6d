"""Every error that the MDC Grid raises on purpose.

::

    GridError
     ├─ UsageError            the call or the settings are wrong                  exit 2
     │   ├─ ConfigError        a settings file or variable
     │   ├─ BadName            a logical name
     │   ├─ BadUnit            a quantity such as "1 GB"
     │   ├─ TriggerTableError  a table, a bit, a stream
     │   └─ RecipeChanged      same production name, other recipe
     ├─ InputError            a file that came in is not what it should be        exit 3
     │   ├─ MissingFile        it is not there, or can't be read
     │   ├─ NotRootFile        it is no ROOT file
     │   ├─ TruncatedFile      it ends too early, or was never closed
     │   ├─ CorruptFile        its bytes contradict each other or a checksum
     │   ├─ UnsupportedContent it is sound, but holds what we can't carry
     │   ├─ SchemaMismatch     files that should agree don't
     │   └─ MissingIdentity    the branches that identify an event aren't there
     ├─ EventError            the books of events don't close
     │   ├─ DuplicateEvents    the same event twice                               exit 4
     │   └─ ClosureError       events or contents lost, doubled or changed        exit 6
     ├─ OutputError           what we write can't be written                      exit 8
     │   ├─ OutputExists       the name is taken
     │   └─ NoSpace            the disk or the quota is full
     ├─ UserCodeError         the user's function failed or broke a rule          exit 5
     ├─ AttemptError          a payload process ended otherwise                   exit 5
     │   ├─ PayloadDied        killed by a signal, or left without a result
     │   └─ LimitExceeded      memory, wall time, or no progress
     ├─ LedgerError           the ledger refuses a call                           exit 7
     │   ├─ StaleLease         the lease is no longer yours
     │   ├─ NotFound           no such job, file, dataset, production             exit 2
     │   └─ SchemaRevision     the catalog is of another revision
     ├─ GatewayError          the gateway can't be asked                          exit 7
     │   ├─ GatewayUnreachable
     │   │   └─ DatabaseUnreachable  it answers, its database doesn't
     │   └─ Unauthorized
     └─ InstallError          the installation is broken                          exit 9
"""

from __future__ import annotations

from typing import Any, ClassVar

__all__ = [
    "AttemptError",
    "BadName",
    "BadUnit",
    "ClosureError",
    "ConfigError",
    "CorruptFile",
    "DatabaseUnreachable",
    "DuplicateEvents",
    "EventError",
    "GatewayError",
    "GatewayUnreachable",
    "GridError",
    "InputError",
    "InstallError",
    "LedgerError",
    "LimitExceeded",
    "MissingFile",
    "MissingIdentity",
    "NoSpace",
    "NotFound",
    "NotRootFile",
    "OutputError",
    "OutputExists",
    "PayloadDied",
    "RecipeChanged",
    "SchemaMismatch",
    "SchemaRevision",
    "StaleLease",
    "TriggerTableError",
    "TruncatedFile",
    "Unauthorized",
    "UnsupportedContent",
    "UsageError",
    "UserCodeError",
]

#: What a foreign exception says loses its middle when it is longer, characters.
LONGEST_SAID = 5_000


class GridError(Exception):
    """The root of the tree.

    Parameters
    ----------
    what
        One sentence: what is wrong.
    where
        The file, key, branch, event or job that it is about.
    todo
        What a person can do next.
    **facts
        Values for machines; they end up in ``--json`` output and in the catalog.
        Plain JSON types only.
    """

    #: The class of failure, a key of the failure catalogue (``sitecfg/failures.toml``).
    failure: ClassVar[str] = "internal"
    #: The exit code of a command that ends with this error.
    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str = "", todo: str = "", **facts: Any) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.todo = todo
        self.facts = facts

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} — {self.todo}" if self.todo else text

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.what, self.where, self.todo, self.facts)

    def to_json(self) -> dict[str, Any]:
        """Return the error as plain JSON types; :func:`from_json` is the way back."""
        return {
            "error": type(self).__name__,
            "failure": self.failure,
            "what": self.what,
            "where": self.where,
            "todo": self.todo,
            "facts": self.facts,
        }


def _rebuild(kind: type[GridError], what: str, where: str, todo: str, facts: dict[str, Any]) -> GridError:
    return kind(what, where=where, todo=todo, **facts)


class UsageError(GridError, ValueError):
    """The call or the settings are wrong."""

    failure = "config"
    exit_code = 2


class ConfigError(UsageError):
    """A settings file or variable is wrong; lists every problem at once."""


class BadName(UsageError):
    """A logical name breaks the rules of ``sitecfg.names``."""


class BadUnit(UsageError):
    """A quantity such as ``"1 GB"`` can't be read."""


class TriggerTableError(UsageError):
    """A trigger table, one of its streams or bits is wrong or unknown."""


class RecipeChanged(UsageError):
    """A production of this name exists with another recipe."""


class InputError(GridError):
    """A file that came in is not what it should be."""

    failure = "source-bad"
    exit_code = 3


class MissingFile(InputError, FileNotFoundError):
    """The file is not there, or can't be read."""

    failure = "missing"


class NotRootFile(InputError, ValueError):
    """The file is no ROOT file."""


class TruncatedFile(InputError, ValueError):
    """The file ends too early, or was never closed by its writer."""

    failure = "corrupt"


class CorruptFile(InputError, ValueError):
    """The file's bytes contradict each other or a checksum."""

    failure = "corrupt"


class UnsupportedContent(InputError, ValueError):
    """The file is sound, but holds something that can't be carried; it is named."""

    failure = "unsupported"


class SchemaMismatch(InputError, ValueError):
    """Files that should agree (branches, trigger bits) don't; the differences are named."""

    failure = "unsupported"


class MissingIdentity(InputError, ValueError):
    """The branches that identify an event aren't there."""

    failure = "unsupported"


class EventError(GridError):
    """The books of events don't close."""

    failure = "books"
    exit_code = 6


class DuplicateEvents(EventError, ValueError):
    """The same event twice; the first offenders are named."""

    failure = "duplicates"
    exit_code = 4


class ClosureError(EventError, ValueError):
    """Events or their contents were lost, doubled or changed on the way."""


class OutputError(GridError, OSError):
    """What we write can't be written."""

    failure = "destination-bad"
    exit_code = 8


class OutputExists(OutputError, FileExistsError):
    """The output's name is taken; nothing is ever overwritten."""

    failure = "exists"


class NoSpace(OutputError):
    """The disk or the quota is full."""

    failure = "space"


class UserCodeError(GridError, RuntimeError):
    """The user's function raised, returned nonsense, or broke a rule about events."""

    failure = "payload"
    exit_code = 5


class AttemptError(GridError, RuntimeError):
    """A payload process ended without doing its work."""

    failure = "payload"
    exit_code = 5


class PayloadDied(AttemptError):
    """The payload was killed by a signal, or left without a result."""


class LimitExceeded(AttemptError):
    """The payload used too much memory or wall time, or made no progress."""

    failure = "limit"


class LedgerError(GridError, RuntimeError):
    """The ledger refuses a call."""

    failure = "ledger"
    exit_code = 7


class StaleLease(LedgerError):
    """The lease is no longer held under this epoch and start token."""

    failure = "lease"


class NotFound(LedgerError, LookupError):
    """There is no such job, file, dataset, table or production; near names are listed."""

    failure = "config"
    exit_code = 2


class SchemaRevision(LedgerError):
    """The catalog's schema is of another revision than this software."""

    failure = "config"


class GatewayError(GridError, OSError):
    """The gateway can't be asked."""

    failure = "transient"
    exit_code = 7


class GatewayUnreachable(GatewayError, ConnectionError):
    """No gateway answers at this address."""


class DatabaseUnreachable(GatewayUnreachable):
    """The catalog's database server does not answer now."""


class Unauthorized(GatewayError):
    """The gateway refuses the token."""

    failure = "auth"


class InstallError(GridError, RuntimeError):
    """The installation is broken: another distribution claims one of our packages."""

    failure = "config"
    exit_code = 9


def said_by(error: BaseException) -> str:
    """Return what any exception says of itself, not too long; also where its own text can't be made."""
    try:
        text = str(error)
    except BaseException as failed:  # noqa: BLE001 -- a class of the user's may do anything there
        text = f"what it says can't be told: its __str__ raised {type(failed).__name__}"
    left_out = len(text) - LONGEST_SAID
    if left_out <= 0:
        return text
    half = LONGEST_SAID // 2
    return f"{text[:half]} [{left_out} characters left out] {text[-half:]}"


def from_json(answer: dict[str, Any]) -> GridError:
    """Rebuild an error from :meth:`GridError.to_json`; an unknown class becomes ``GridError``."""
    kind = globals().get(str(answer.get("error")), GridError)
    if not (isinstance(kind, type) and issubclass(kind, GridError)):
        kind = GridError
    facts = answer.get("facts")
    return kind(
        str(answer.get("what", "no reason given")),
        where=str(answer.get("where", "")),
        todo=str(answer.get("todo", "")),
        **(facts if isinstance(facts, dict) else {}),
    )
