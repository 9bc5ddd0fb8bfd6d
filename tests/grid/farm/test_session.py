"""A farm comes with its first client and goes with its last, however they end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from grid.farm.home import read_state
from grid.farm.session import attach, down, running, up
from sitecfg.errors import ConfigError, GatewayUnreachable, OutputError, SchemaRevision
from tests.grid.farm.conftest import alive, make_home, open_ledger, processes_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from grid.farm.home import Home

pytestmark = pytest.mark.farm

CLIENT = """
import sys, time
from pathlib import Path
from grid.farm.session import attach
with attach(Path(sys.argv[1]), sys.argv[2]) as session:
    print(session.client.health()["pid"], flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return make_home(tmp_path / "home", executor="local")


def client(home: Home, need: str = "gateway") -> tuple[subprocess.Popen[str], int]:
    """Start a client in a process of its own; returns it and the gateway that it found."""
    process = subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(home.root), need],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    return process, int(process.stdout.readline())


def leave(process: subprocess.Popen[str]) -> None:
    """Let a client end by itself."""
    process.communicate("")
    assert process.returncode == 0


def test_a_port_that_somebody_else_has_is_named_at_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        monkeypatch.setenv("MDCGRID_GATEWAY__PORT", str(port))
        with (
            pytest.raises(ConfigError, match=f"{port}.*Address already in use") as refused,
            attach(home.root),
        ):
            pass
    assert "gateway.port" in refused.value.todo
    with attach(home.root) as session:
        assert session.client.health()["pid"]


def test_a_farm_starts_with_its_first_client_and_ends_with_its_last(home: Home) -> None:
    with attach(home.root) as session:
        assert running(home)
        assert session.client.health()["site"] == "local"
        state = read_state(home.farm)
        assert state is not None
        # Who only asks needs no slots.
        assert list(state["children"]) == ["gateway"]
        for secret in (home.gateway, home.farm):
            assert secret.stat().st_mode & 0o077 == 0
    assert not running(home)
    until(lambda: not processes_of(home))
    assert not home.gateway.exists()
    assert not list(home.root.glob("catalog.sqlite-*"))


def test_a_killed_client_leaves_nothing_behind(home: Home) -> None:
    process, gateway = client(home, "farm")
    until(lambda: "dispatcher" in (read_state(home.farm) or {}).get("children", {}))
    process.kill()
    process.communicate()
    until(lambda: not processes_of(home))
    assert not alive(gateway)
    assert not running(home)


def test_two_clients_share_a_farm_and_the_last_one_ends_it(home: Home) -> None:
    first, gateway = client(home)
    second, other = client(home)
    assert gateway == other
    leave(first)
    assert running(home)
    # The second one now wants slots as well.
    third, _ = client(home, "farm")
    ledger = open_ledger(home)
    numbers = ledger.add(2)
    until(lambda: ledger.all_done(numbers))
    ledger.catalog.close()
    leave(second)
    assert running(home)
    leave(third)
    until(lambda: not processes_of(home))


def test_clients_that_come_at_once_start_one_farm(home: Home) -> None:
    found: list[int] = []
    together = threading.Barrier(4)
    done = threading.Barrier(4)

    def come() -> None:
        together.wait()
        with attach(home.root) as session:
            found.append(session.client.health()["pid"])
            done.wait()

    threads = [threading.Thread(target=come) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1
    assert not running(home)


def test_a_client_that_comes_while_the_farm_ends_gets_a_new_one(home: Home) -> None:
    process, _ = client(home)
    process.kill()
    process.communicate()
    with attach(home.root) as session:
        session.client.health()


def test_up_stays_and_down_ends_it(home: Home) -> None:
    state = up(home.root)
    assert alive(state["pid"])
    assert up(home.root)["pid"] == state["pid"]
    with attach(home.root, "farm") as session:
        gateway = session.client.health()["pid"]
    assert running(home)
    with attach(home.root) as session:
        assert session.client.health()["pid"] == gateway
        assert down(home.root)
        with pytest.raises(GatewayUnreachable):
            session.client.health(patience_s=0.2)
    until(lambda: not processes_of(home))
    assert not down(home.root)


def test_after_a_killed_supervisor_the_next_client_starts_anew(home: Home) -> None:
    state = up(home.root)
    os.kill(state["pid"], signal.SIGKILL)
    until(lambda: not processes_of(home))
    with attach(home.root) as session:
        session.client.health()
    assert not running(home)


def test_settings_that_are_wrong_are_told_to_the_client(home: Home) -> None:
    home.settings.write_text("[workers]\nslots = 'many'\n")
    with pytest.raises(ConfigError, match="slots"), attach(home.root):
        pass
    home.settings.write_text("")
    with attach(home.root):
        pass


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError), attach(tmp_path / "file" / "home"):
        pass


def test_settings_that_become_wrong_later_are_told_too(home: Home) -> None:
    """Processes that start later read them, and say that they can't go on."""
    with attach(home.root) as session:
        home.settings.write_text("[workers]\nslots = 'many'\n")
        with attach(home.root, "farm"), pytest.raises(ConfigError, match="slots"):
            until(lambda: session.client.health()["pid"] == 0)
    assert not running(home)
    until(lambda: not processes_of(home))


def test_a_catalog_of_another_revision_is_told_to_the_client(home: Home) -> None:
    with attach(home.root):
        ledger = open_ledger(home)
        with ledger.catalog.write() as tx:
            tx.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        ledger.catalog.close()
    with pytest.raises(SchemaRevision), attach(home.root):
        pass
    until(lambda: not processes_of(home))
