"""A PostgreSQL server of the tests' own, on a Unix socket: nothing listens on any network."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.services.missing import missing

_USER = "postgres"
_SPARE_THE_DISK = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "on"}


class Postgres:
    """A server with databases for tests.

    Parameters
    ----------
    durable
        Whether it waits for the disk, as a real one must; tests that don't cut the power need not wait.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._bin = _programs()
        # A path of its own: the server runs as another user, and a socket's path is short.
        self.folder = Path(tempfile.mkdtemp(prefix="mdcgrid-pg-"))
        self._as_user = _as_server_user(self.folder)
        self._names = (f"test_{n}" for n in itertools.count())
        data = self.folder / "data"
        self._run(
            self._bin / "initdb", "-D", data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N"
        )
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "max_connections": "100",
        }
        if not durable:
            settings |= _SPARE_THE_DISK
        with (data / "postgresql.conf").open("a") as conf:
            conf.writelines(f"{key} = '{value}'\n" for key, value in settings.items())
        self.start()

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        self._run(
            self._bin / "pg_ctl",
            "start",
            "-w",
            "-t",
            "60",
            "-D",
            self.folder / "data",
            "-l",
            self.folder / "log",
        )

    def kill(self) -> None:
        """Kill the postmaster without a warning, and wait until all that it started is gone."""
        lock = self.folder / "data" / "postmaster.pid"
        process = int(lock.read_text().splitlines()[0])
        os.kill(process, signal.SIGKILL)
        deadline = time.monotonic() + 60
        # Shared memory stays attached until the last of them has noticed; the next start asks for that.
        while (
            self._run(self._bin / "pg_ctl", "status", "-D", self.folder / "data", check=False).returncode == 0
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the server and remove all that it wrote."""
        self._run(self._bin / "pg_ctl", "stop", "-m", "immediate", "-D", self.folder / "data", check=False)
        shutil.rmtree(self.folder)

    def make(self) -> str:
        """Make an empty database and return its URL."""
        name = next(self._names)
        self.run(self.url("postgres"), f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def url(self, name: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://{_USER}@/{name}?host={self.folder}"

    def run(self, url: str, *statements: str) -> None:
        """Run statements in a database as its superuser, each of them at once."""
        import psycopg

        with psycopg.connect(
            host=str(self.folder), user=_USER, dbname=_name(url), autocommit=True
        ) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def dump(self, url: str) -> str:
        """Return the statements that make the tables of a database."""
        return self._run(
            self._bin / "pg_dump", "--schema-only", "-h", self.folder, "-U", _USER, _name(url)
        ).stdout

    def _run(self, *command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*self._as_user, *command],
            check=False,
            capture_output=True,
            text=True,
            cwd=self.folder,
            timeout=120,
        )
        assert done.returncode == 0 or not check, done.stdout + done.stderr
        return done


def _name(url: str) -> str:
    return url.rpartition("?")[0].rpartition("/")[2]


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(found[-1]) if found else None)
    if initdb is None:
        missing("PostgreSQL", "apt-get install postgresql")
    return Path(initdb).resolve().parent


def _as_server_user(folder: Path) -> list[str]:
    """Return how to run a program as a user whom the server accepts: not root."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, _USER)
    folder.chmod(0o755)
    return ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"]
