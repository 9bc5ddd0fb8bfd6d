"""The gateway refuses what it should, and goes on."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.routing import Route

from grid.farm.client import GatewayClient
from sitecfg.errors import GatewayUnreachable, GridError, NotFound, StaleLease, Unauthorized, UsageError
from tests.grid.farm.conftest import serve, until

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from catalog.engine import Catalog
    from grid.farm.home import Home
    from tests.grid.farm.conftest import Ledger

RUNNER = "00000000-0000-0000-0000-000000000001"
OTHER = "00000000-0000-0000-0000-000000000002"


def begin(gateway: GatewayClient, claim: tuple[int, int], runner: str = RUNNER) -> dict[str, Any]:
    return gateway.begin(*claim, runner, host="here", pid=1, worker="w1")


def test_a_job_goes_from_claim_to_commit(gateway: GatewayClient, ledger: Ledger) -> None:
    (number,) = ledger.add(touch="x")
    (claim,) = gateway.claim("cell", 5)
    assert claim == (number, 1)
    begun = begin(gateway, claim)
    assert begun["kind"] == "empty"
    assert begun["spec"] == {"touch": "x"}
    assert begun["limits"]["memory"] == 1_000_000_000
    assert begun["lease_s"] == 5.0
    assert gateway.renew([(*claim, RUNNER)]) == set()
    gateway.commit(*claim, RUNNER, {"measured": {"cpu_s": 1.5}})
    gateway.commit(*claim, RUNNER, {"measured": {"cpu_s": 1.5}})
    assert ledger.state(number) == "done"
    assert [one.cpu_s for one in ledger.attempts(number)] == [1.5]


def test_a_second_start_of_the_same_claim_is_refused(gateway: GatewayClient, ledger: Ledger) -> None:
    ledger.add()
    (claim,) = gateway.claim("cell", 1)
    begin(gateway, claim)
    with pytest.raises(StaleLease):
        begin(gateway, claim, OTHER)
    with pytest.raises(StaleLease):
        gateway.commit(*claim, OTHER, {})
    assert gateway.renew([(*claim, RUNNER), (*claim, OTHER)]) == {(*claim, OTHER)}


def test_released_leases_are_ready_at_once(gateway: GatewayClient, ledger: Ledger) -> None:
    numbers = ledger.add(3)
    claims = gateway.claim("cell", 3, claimer="dispatcher.1")
    begin(gateway, claims[0])
    assert gateway.release(leases=[(*claims[1], None)]) == 1
    assert ledger.state(numbers[1]) == "ready"
    # What was begun belongs to its worker; what was not, to who claimed it.
    assert gateway.release(worker="dispatcher.1") == 1
    assert ledger.state(numbers[0]) == "leased"
    assert gateway.release(worker="w1") == 1
    assert ledger.states(numbers) == {"ready"}


def test_a_failure_is_decided_by_the_catalogue(gateway: GatewayClient, ledger: Ledger) -> None:
    (number,) = ledger.add()
    for _ in range(3):
        job, epoch = until(lambda: gateway.claim("cell", 1))[0]
        begin(gateway, (job, epoch))
        gateway.fail(
            job, epoch, RUNNER, failure="payload", message="it broke", measured={}, last_lines="x\ny"
        )
    assert ledger.state(number) == "held"
    assert [one.last_lines for one in ledger.attempts(number)] == ["x\ny"] * 3


def test_a_claim_waits_for_a_job_to_come(gateway: GatewayClient, ledger: Ledger) -> None:
    answers: list[list[tuple[int, int]]] = []
    waiting = threading.Thread(target=lambda: answers.append(gateway.claim("cell", 1, wait_s=20)))
    waiting.start()
    (number,) = ledger.add()
    waiting.join(10)
    assert answers == [[(number, 1)]]


def test_a_claim_of_one_who_died_meanwhile_is_returned(
    home: Home, gateway: GatewayClient, ledger: Ledger
) -> None:
    address = json.loads(home.gateway.read_text())
    body = json.dumps({"cell": "c", "limit": 1, "wait_s": 20, "claimer": "dispatcher.1"}).encode()
    head = (
        "POST /claim HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer token\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", address["port"])) as dying:
        dying.sendall(head.encode() + body)
        gateway.health()
    gateway.release(worker="dispatcher.1")
    (number,) = ledger.add()
    # Had the dead one got the job, it would be leased for as long as a claim lasts.
    assert until(lambda: gateway.claim("cell", 1, wait_s=1), 4)[0][0] == number


def test_a_claim_that_waits_in_vain_comes_back_empty(gateway: GatewayClient) -> None:
    started = time.monotonic()
    assert gateway.claim("cell", 1, wait_s=0.3) == []
    assert time.monotonic() - started >= 0.3


@pytest.mark.parametrize(
    "headers",
    [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "token"}, {"Authorization": "Bearer tök"}],
)
def test_strangers_are_refused(home: Home, gateway: GatewayClient, headers: dict[str, str]) -> None:
    url = json.loads(home.gateway.read_text())["url"]
    encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
    answer = httpx.post(url + "/claim", headers=encoded, json={"cell": "c", "limit": 1}, trust_env=False)
    assert answer.status_code == 401
    assert answer.json()["error"] == "Unauthorized"


def test_a_wrong_token_is_an_error_of_its_own(home: Home, gateway: GatewayClient) -> None:
    url = json.loads(home.gateway.read_text())["url"]
    with GatewayClient.at(url, "wrong") as stranger, pytest.raises(Unauthorized):
        stranger.health()


def post(home: Home, path: str, content: bytes, **headers: str) -> httpx.Response:
    url = json.loads(home.gateway.read_text())["url"]
    head = {"Authorization": "Bearer token", "Content-Type": "application/json", **headers}
    return httpx.post(url + path, headers=head, content=content, trust_env=False)


MALFORMED = [
    b"",
    b"{",
    b"\xff\xfe",
    b"null",
    b"[]",
    b'"text"',
    b"{}",
    b'{"cell": "c"}',
    b'{"cell": "c", "limit": "1"}',
    b'{"cell": "c", "limit": 0}',
    b'{"cell": "c", "limit": 1e99}',
    b'{"cell": "c", "limit": NaN}',
    b'{"cell": "c", "limit": ' + b"9" * 6000 + b"}",
    b'{"cell": "c", "limit": 1, "more": 1}',
    b'{"cell": "c\\u0000", "limit": 1}',
    b'{"cell": "\\ud800", "limit": 1}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
]


def test_malformed_bodies_are_refused(home: Home, gateway: GatewayClient) -> None:
    for body in MALFORMED:
        answer = post(home, "/claim", body)
        assert 400 <= answer.status_code < 500, body[:100]
        assert answer.json()["what"]
    assert gateway.health()["site"] == "local"


def test_huge_numbers_do_not_reach_the_database(gateway: GatewayClient) -> None:
    with pytest.raises(UsageError, match="malformed"):
        gateway.commit(1 << 70, 1, RUNNER, {})


def test_a_body_above_the_limit_is_refused(home: Home, ledger: Ledger) -> None:
    home.settings.write_text('[gateway]\nbody_limit = "1 kB"\n')
    with serve(home, ledger) as (url, token), GatewayClient.at(url, token) as client:
        too_large = b'{"cell": "' + b"x" * 2000 + b'", "limit": 1}'
        assert post(home, "/claim", too_large).status_code == 413
        chunks = iter([b"x" * 600, b"x" * 600])
        head = {"Authorization": "Bearer token", "Content-Type": "application/json"}
        assert httpx.post(url + "/claim", headers=head, content=chunks, trust_env=False).status_code == 413
        client.health()


def test_unknown_routes_and_methods_are_refused_as_json(gateway: GatewayClient) -> None:
    with pytest.raises(NotFound):
        gateway.get("/nothing")
    with pytest.raises(UsageError):
        gateway.get("/claim")


def test_what_nobody_foresaw_is_answered_and_the_gateway_goes_on(home: Home, ledger: Ledger) -> None:
    async def broken(request: Request) -> Response:
        raise ZeroDivisionError(request.url.path)

    with (
        serve(home, ledger, routes=[Route("/broken", broken, methods=["POST"])]) as address,
        GatewayClient.at(*address, patience_s=2.0) as client,
    ):
        with pytest.raises(GridError, match="ZeroDivisionError"):
            client.post("/broken")
        client.health()


def test_calls_that_arrive_together_do_not_undo_each_other(gateway: GatewayClient, ledger: Ledger) -> None:
    """They share a transaction, but not their fate."""
    ledger.add(40)
    claims = gateway.claim("cell", 40)
    refused: list[tuple[int, int]] = []

    def run(claim: tuple[int, int]) -> None:
        begin(gateway, claim)
        try:
            gateway.commit(*claim, RUNNER if claim[0] % 3 else OTHER, {})
        except StaleLease:
            refused.append(claim)

    threads = [threading.Thread(target=run, args=(claim,)) for claim in claims]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(refused) == [claim for claim in claims if claim[0] % 3 == 0]
    for job, _ in claims:
        assert ledger.state(job) == ("leased" if job % 3 == 0 else "done")


class Counting:
    """A daemon that counts its steps, and fails in some of them."""

    name = "count"

    def __init__(self, *, fail: int = 0) -> None:
        self.steps = 0
        self._fail = fail

    def step(self, catalog: Catalog) -> float | None:  # noqa: ARG002
        self.steps += 1
        if self.steps <= self._fail:
            raise RuntimeError("not yet")
        return None


def test_a_daemon_is_woken_by_commits(home: Home, ledger: Ledger) -> None:
    daemon = Counting()
    with serve(home, ledger, daemons=[daemon]) as address, GatewayClient.at(*address) as client:
        until(lambda: daemon.steps == 1)
        ledger.add()
        (claim,) = client.claim("cell", 1)
        begin(client, claim)
        client.commit(*claim, RUNNER, {})
        until(lambda: daemon.steps == 2)


def test_a_failing_daemon_is_tried_again_and_says_so(home: Home, ledger: Ledger) -> None:
    daemon = Counting(fail=1)
    with serve(home, ledger, daemons=[daemon]) as address, GatewayClient.at(*address) as client:
        assert until(lambda: client.health()["daemons"]["count"]["error"]) == "RuntimeError: not yet"
        until(lambda: daemon.steps >= 2)
        until(lambda: client.health()["daemons"]["count"]["error"] is None)


def test_leases_that_run_out_are_taken_back(home: Home, ledger: Ledger) -> None:
    home.settings.write_text('[lease]\nseconds = "0.4 s"\n')
    with serve(home, ledger) as address, GatewayClient.at(*address) as client:
        (number,) = ledger.add()
        (claim,) = client.claim("cell", 1)
        begin(client, claim)
        until(lambda: ledger.state(number) == "ready")
        assert [one.failure for one in ledger.attempts(number)] == ["lease"]


def test_a_client_waits_for_a_gateway_that_is_started_anew(home: Home, ledger: Ledger) -> None:
    first = serve(home, ledger)
    with first, GatewayClient.of_home(home, patience_s=20) as client:
        client.health()
    found: list[Any] = []
    asking = threading.Thread(target=lambda: found.append(client.health()))
    with GatewayClient.of_home(home, patience_s=20) as client:
        asking.start()
        with serve(home, ledger):
            asking.join(15)
    assert len(found) == 1


def test_a_gateway_that_stays_away_is_reported(home: Home) -> None:
    with GatewayClient.of_home(home, patience_s=0.1) as client, pytest.raises(GatewayUnreachable):
        client.health()
