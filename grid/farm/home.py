"""Where things lie in a home: the one folder that holds everything an embedded farm writes."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sitecfg.errors import OutputError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Home", "read_state", "write_private", "write_state"]


@dataclass(frozen=True, slots=True)
class Home:
    """Paths of a home; nothing is made until :meth:`prepare`.

    Parameters
    ----------
    root
        The home's folder.
    """

    root: Path

    @property
    def settings(self) -> Path:
        """The home's settings file."""
        return self.root / "grid.toml"

    @property
    def catalog(self) -> Path:
        """The embedded catalog."""
        return self.root / "catalog.sqlite"

    @property
    def pool(self) -> Path:
        """Where outputs lie."""
        return self.root / "pool"

    @property
    def scratch(self) -> Path:
        """Where running attempts may write what nobody needs later."""
        return self.root / "scratch"

    @property
    def scripts(self) -> Path:
        """Users' scripts, by the hash of their content."""
        return self.root / "scripts"

    @property
    def log(self) -> Path:
        """One file per process, and ``attempts/`` for what payloads printed."""
        return self.root / "log"

    @property
    def attempts(self) -> Path:
        """What payloads printed, for the newest starts of each job."""
        return self.log / "attempts"

    @property
    def run(self) -> Path:
        """State of the running farm; worthless when no farm runs."""
        return self.root / "run"

    @property
    def gateway(self) -> Path:
        """Address and token of the gateway (mode 0600)."""
        return self.run / "gateway.json"

    @property
    def dask(self) -> Path:
        """Address of the Dask scheduler."""
        return self.run / "dask.json"

    @property
    def dask_keys(self) -> Path:
        """Key and certificate of everybody who speaks to the Dask scheduler (mode 0600)."""
        return self.run / "dask.pem"

    @property
    def farm(self) -> Path:
        """What the supervisor runs: process ids, restarts."""
        return self.run / "farm.json"

    @property
    def stay(self) -> Path:
        """While it exists the farm stays up without clients."""
        return self.run / "stay"

    @property
    def stop(self) -> Path:
        """Tells the supervisor to stop, whoever needs it."""
        return self.run / "stop"

    @property
    def supervisor_lock(self) -> Path:
        """Held exclusively by the living supervisor."""
        return self.run / "supervisor.lock"

    @property
    def clients_lock(self) -> Path:
        """Shared by every client; the supervisor that gets it alone has no client left."""
        return self.run / "clients.lock"

    @property
    def slots_lock(self) -> Path:
        """Shared by every client that wants jobs to run, not only the gateway."""
        return self.run / "slots.lock"

    def prepare(self) -> None:
        """Make the folders; idempotent. ``run/`` and ``log/`` are the owner's alone.

        Raises
        ------
        OutputError
            They can't be made here.
        """
        try:
            for folder in (
                self.root,
                self.pool,
                self.scratch,
                self.scripts,
                self.log,
                self.attempts,
                self.run,
            ):
                folder.mkdir(parents=True, exist_ok=True)
            for private in (self.run, self.log):
                private.chmod(0o700)
        except OSError as error:
            raise OutputError(
                f"a home can't be made here: {error.strerror}",
                where=str(self.root),
                todo="name another with --home",
            ) from error


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Replace a state file in one step, readable by its owner only."""
    write_private(path, json.dumps(state))


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
    temporary.replace(path)


def read_state(path: Path) -> dict[str, Any] | None:
    """Return a state file's content, or ``None`` when there is none (or no whole one)."""
    try:
        state = json.loads(path.read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return state if isinstance(state, dict) else None
