"""What the gateway refuses is answered in its own words, written down, and changes nothing."""

from __future__ import annotations

import json
import logging
import re
import secrets
import shutil
import socket
from typing import TYPE_CHECKING, Any
from unittest import mock

import httpx
import pytest
from sqlalchemy import select

from catalog import find
from catalog.engine import Catalog
from catalog.schema import metadata
from catalog.states import Kind
from grid.farm.client import GatewayClient
from grid.farm.gateway import guard, refusals
from grid.farm.gateway.desk import desk
from grid.farm.home import read_state
from grid.farm.session import attach
from sitecfg.errors import Unauthorized, UsageError
from tests.catalog.databases import PostgreSQL
from tests.catalog.world import SCOPE, Clock, World, processed, written
from tests.grid.farm.bad_requests import CASES, JSON, LIMIT, Case, held
from tests.grid.farm.conftest import Ledger, make_home, serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from catalog.leases import Lease
    from grid.farm.home import Home

EVENTS = {"a.root": [1, 2, 3, 4, 6], "b.root": [7, 8, 9]}
LOG = "grid.farm.gateway.refusals"


def dump(catalog: Catalog) -> dict[str, list[Any]]:
    """Everything that a catalog holds."""
    with catalog.read() as tx:
        return {
            table.name: sorted(map(tuple, tx.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


class Stage:
    """A gateway with work in every state: two process jobs begun, one intake committed, one claimed."""

    a: Lease
    b: Lease
    of_a: dict[str, Any]
    of_b: dict[str, Any]

    def __init__(self, home: Home, catalog: Catalog, http: httpx.Client) -> None:
        self.home, self.catalog, self.http = home, catalog, http
        self.world = World(catalog, Clock(catalog))
        self.files = self.world.take_in(EVENTS)
        self.ask(Case("", "/submit", {"name": "p1", "scope": SCOPE, "recipe": {"inputs": "test:raw"}}, 200))
        production = self.world.produce(self.files)
        self.world.add(None, Kind.EMPTY, [()])
        self.claim, self.begun_empty = self.world.start(kinds=(Kind.EMPTY,))
        self.world.add(production, Kind.PROCESS, [(one,) for one in self.files])
        self.a, a = self.world.start(kinds=(Kind.PROCESS,))
        self.b, b = self.world.start(kinds=(Kind.PROCESS,))
        self.of_a = self.in_pool(processed(self.a, a, EVENTS["a.root"]))
        self.of_b = self.in_pool(processed(self.b, b, EVENTS["b.root"]))

    def in_pool(self, result: dict[str, Any]) -> dict[str, Any]:
        """The result with its outputs where a worker would have put them."""
        for one in result["outputs"]:
            folder = self.home.pool / one["dataset"].replace(":", "/")
            one["url"] = f"{folder.as_uri()}/{one['url'].rpartition('/')[2]}"
        return result

    def ask(self, case: Case) -> httpx.Response:
        body = case.body(self) if callable(case.body) else case.body
        content = json.dumps(body).encode() if isinstance(body, (dict, list)) else body
        shown = {"Authorization": "Bearer token", **JSON} if case.headers is None else case.headers
        headers = {name.encode(): value.encode() for name, value in shown.items()}
        return self.http.request(case.method, case.path, headers=headers, content=content)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def stage(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    # Leases of this length are none that the reaper would have looked at before all is over.
    home = make_home(tmp_path_factory.mktemp("refusals") / "home", lease=4000)
    with home.settings.open("a") as settings:
        settings.write(f'\n[gateway]\nbody_limit = "{LIMIT} B"\n')
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("empty_catalog"), home.catalog)
        url = f"sqlite:///{home.catalog}"
    else:
        url = PostgreSQL(request.getfixturevalue("postgres")).catalog()
    with (
        Catalog.open(url) as catalog,
        serve(home, Ledger(catalog), routes=desk(home)) as (address, _),
        httpx.Client(base_url=address, trust_env=False) as http,
        mock.patch.object(refusals, "MOST", 10_000),
    ):
        yield Stage(home, catalog, http)


@pytest.mark.parametrize("group", CASES)
def test_refused_written_down_and_nothing_changed(
    stage: Stage, group: str, caplog: pytest.LogCaptureFixture
) -> None:
    before = dump(stage.catalog)
    wrong = []
    for case in CASES[group]:
        caplog.clear()
        answer = stage.ask(case)
        found = (answer.status_code, answer.json()["error"])
        if found != (case.status, case.error) or not answer.json()["what"]:
            wrong.append(f"{case.path} {case.name}: {answer.status_code} {answer.text}")
        if not written_down(case, caplog):
            wrong.append(f"{case.path} {case.name}: {caplog.messages}")
    assert not wrong, "\n".join(wrong)
    assert dump(stage.catalog) == before


def written_down(case: Case, caplog: pytest.LogCaptureFixture) -> bool:
    """Whether the log has one line of it: from whom, for what and why not, and no secret."""
    lines = [one.getMessage() for one in caplog.records if one.name == LOG]
    return (
        len(lines) == 1
        and " from 127.0.0.1:" in lines[0]
        and f" with {case.status} {case.error}: " in lines[0]
        and lines[0].isprintable()
        and "Bearer" not in lines[0]
        and not any(one.levelno >= logging.ERROR for one in caplog.records)
    )


def test_what_is_forged_for_several_leases_at_once_opens_none(stage: Stage) -> None:
    """Renewing and returning take lists, so they say what they did instead of refusing."""
    before = dump(stage.catalog)
    forged = [
        held(stage.a) | {"runner": stage.b.runner},
        held(stage.b) | {"epoch": 2},
        held(stage.a) | {"job": 9},
    ]
    answer = stage.ask(Case("", "/renew", {"leases": forged}, 200))
    assert answer.json() == {"lost": forged}
    answer = stage.ask(Case("", "/release", {"leases": [*forged, held(stage.a) | {"runner": None}]}, 200))
    assert answer.json() == {"released": 0}
    assert dump(stage.catalog) == before


@pytest.mark.farm
def test_a_real_gateway_writes_its_refusals_into_its_log(tmp_path: Path) -> None:
    """A token that is right elsewhere is a stranger's here; neither is in any log."""
    theirs = secrets.token_urlsafe(32)
    with attach(tmp_path / "home") as session:
        state = read_state(session.home.gateway)
        assert state is not None
        with GatewayClient.at(state["url"], theirs) as stranger, pytest.raises(Unauthorized):
            stranger.release(worker="w1")
    log = (tmp_path / "home/log/gateway.log").read_text()
    assert "refused POST /release from 127.0.0.1:" in log
    assert "with 401 Unauthorized: the token is missing or wrong" in log
    for path in tmp_path.glob("home/log/*.log"):
        assert not {state["token"], theirs} & set(re.split(r"[^A-Za-z0-9_-]", path.read_text()))


def test_an_old_commit_changes_nothing_any_more(stage: Stage) -> None:
    """Not after its lease was lost to another run, nor after what it wrote was withdrawn."""
    (number,) = stage.world.declare(["late.root"], dataset="late")
    lease, _ = stage.world.start(kinds=(Kind.INTAKE,))
    commit = Case("", "/commit", held(lease, result={"file": written("late.root", [99])}), 200)
    stage.world.fail(lease, "config")
    assert stage.ask(Case("", "/retry", {"file": "test:late.root"}, 200)).json() == {"freed": 1}
    before = dump(stage.catalog)
    assert stage.ask(commit).json()["error"] == "StaleLease"
    assert dump(stage.catalog) == before
    again, _ = stage.world.start(kinds=(Kind.INTAKE,))
    before = dump(stage.catalog)
    assert stage.ask(commit).json()["error"] == "StaleLease"
    assert dump(stage.catalog) == before

    commit = Case("", "/commit", held(again, result={"file": written("late.root", [99])}), 200)
    assert stage.ask(commit).json() == {"state": "done", "repeated": False}
    assert stage.ask(Case("", "/invalidate", {"what": "test:late.root", "why": "x"}, 200)).status_code == 200
    before = dump(stage.catalog)
    assert stage.ask(commit).json() == {"state": "done", "repeated": True}
    assert dump(stage.catalog) == before
    with stage.catalog.read() as tx:
        assert find.files_by_id(tx, [number])[number].state == "bad"


def knock(address: str, *parts: bytes) -> bytes:
    """Send bytes as they are, each after an answer to those before; return the rest until the other end closes."""
    host, port = address.removeprefix("http://").split(":")
    answer = b""
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        for part in parts:
            connection.sendall(part)
            answer += connection.recv(65536)
        return answer + b"".join(iter(lambda: connection.recv(65536), b""))


NO_HTTP = {
    "no request": b"hello\r\n\r\n",
    "a header without end": b"GET /health HTTP/1.1\r\nX: " + b"x" * 100_000,
    "a NUL in a header": b"GET /health HTTP/1.1\r\nX: \0\r\n\r\n",
    "a length that is none": b"POST /claim HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"POST /claim HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "a length and pieces": (
        b"POST /claim HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 20\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
}


@pytest.mark.parametrize("name", NO_HTTP)
def test_what_is_no_http_is_refused_and_written_down(
    home: Home, ledger: Ledger, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(home, ledger) as (address, _):
        before = dump(ledger.catalog)
        assert knock(address, NO_HTTP[name]).startswith(b"HTTP/1.1 400 ")
        assert dump(ledger.catalog) == before
    (line,) = [one.getMessage() for one in caplog.records if one.name == LOG]
    assert "with 400 UsageError" in line


def test_a_request_whose_head_never_comes_is_dropped(
    home: Home, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """Callers that open connections and say nothing, or little, must not use them up."""
    whole = b"GET /health HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token\r\n\r\n"
    with serve(home, ledger, head_s=0.3) as (address, token), GatewayClient.at(address, token) as client:
        assert knock(address) == b""
        assert knock(address, b"POST /claim HTTP/1.1\r\nHost: ") == b""
        assert b" 200 OK" in knock(address, whole, b"GET /heal")
        client.health()
    lines = [one.getMessage() for one in caplog.records if one.name == LOG]
    assert len(lines) == 3
    assert all("with 408 UsageError" in one for one in lines)


def test_a_body_that_never_comes_is_refused(
    home: Home, ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    head = (
        b"POST /claim HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token\r\nConnection: close\r\n"
        b"Content-Type: application/json\r\nContent-Length: 30\r\n\r\n{"
    )
    with mock.patch.object(guard, "BODY_S", 0.3), serve(home, ledger) as (address, _):
        assert knock(address, head).startswith(b"HTTP/1.1 408 ")
    (line,) = [one.getMessage() for one in caplog.records if one.name == LOG]
    assert "refused POST /claim" in line


def test_refusals_of_one_kind_are_counted_when_there_are_too_many(caplog: pytest.LogCaptureFixture) -> None:
    at = [0.0]
    book = refusals.Refusals(lambda: at[0])
    scope = {"method": "GET", "path": "/a\nb", "client": ("10.0.0.1", 5)}
    for _ in range(refusals.MOST + 7):
        book.note(scope, 401, Unauthorized("no"))
    book.note(scope, 422, UsageError("x" * 10_000, where="\x1b[2J"))
    assert len(caplog.messages) == refusals.MOST + 1
    assert caplog.messages[0] == r"refused GET /a\nb from 10.0.0.1:5 with 401 Unauthorized: no"
    assert len(caplog.messages[-1]) < 1000
    assert caplog.messages[-1].isprintable()
    at[0] += refusals.PERIOD_S
    book.note(scope, 401, Unauthorized("no"))
    assert caplog.messages[-2] == "refused 7 more with Unauthorized that were not written down"
