"""The calls of the ledger's protocol over HTTP. All may be repeated without harm."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from catalog import status, work
from grid.farm.gateway import requests
from grid.farm.gateway.places import check_places
from grid.farm.gateway.routing import post
from sitecfg.points import reach

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalog.engine import Transaction
    from catalog.rows import File
    from grid.farm.gateway.bell import Bell
    from grid.farm.gateway.ledger import Ledger
    from sitecfg.errors import GridError
    from sitecfg.models import Site

__all__ = ["calls"]

T = TypeVar("T")

#: A claim that nobody begins runs out soon: its dispatcher, or the reply to it, was lost. Seconds.
CLAIM_S = 30.0
#: While a claim waits it looks by itself this often: a job's time may have come. Seconds.
LOOK_EVERY_S = 0.5


def calls() -> list[BaseRoute]:
    """Return the routes ``/claim /begin /renew /commit /fail /release``."""
    return [
        post("/claim", requests.Claim, _claim),
        post("/begin", requests.Begin, _begin),
        post("/renew", requests.Renew, _renew),
        post("/commit", requests.Commit, _commit),
        post("/fail", requests.Fail, _fail),
        post("/release", requests.Release, _release),
    ]


async def _claim(request: Request, body: requests.Claim) -> dict[str, Any]:
    ledger: Ledger = request.app.state.ledger
    bell: Bell = request.app.state.bell
    site: Site = request.app.state.site

    def call(tx: Transaction) -> list[work.Claim]:
        limit = body.limit
        if body.most is not None:
            limit = min(limit, body.most - status.live_leases(tx).get(body.cell, 0))
        if limit <= 0:
            return []
        lease_s = min(CLAIM_S, site.lease.seconds)
        claims = work.claim(tx, cell=body.cell, claimer=body.claimer, limit=limit, lease_s=lease_s)
        if claims:
            reach("claim.open")
        return claims

    deadline = time.monotonic() + body.wait_s
    while True:
        seen = bell.whispers
        claims = await asyncio.wrap_future(ledger.submit(call, ring=False, durable=False))
        if claims:
            reach("claim.durable")
        left = deadline - time.monotonic()
        gone = await request.is_disconnected()
        if gone and claims:
            # Nobody hears of them, so nobody would begin them.
            leases = [work.Lease(one.job, one.epoch) for one in claims]
            ledger.submit(partial(work.give_back, leases=leases), durable=False)
        if gone or claims or left <= 0 or request.app.state.closing:
            return {"claims": [{"job": one.job, "epoch": one.epoch, "kind": one.kind} for one in claims]}
        await bell.heard(seen, min(left, LOOK_EVERY_S))


async def _begin(request: Request, body: requests.Begin) -> dict[str, Any]:
    ledger: Ledger = request.app.state.ledger
    site: Site = request.app.state.site
    lease = work.Lease(body.job, body.epoch, body.runner)
    start = work.Start(lease, body.host, body.worker, body.pid, site.lease.seconds)
    begun = await asyncio.wrap_future(ledger.share(_begin_all, start, ring=False, durable=False))
    reach("begin.durable")
    limits = {
        "memory": site.workers.memory,
        "wall_s": site.workers.wall_time,
        "quiet_s": site.workers.quiet_time,
    }
    return {
        "kind": begun.kind,
        "production": begun.production,
        "key": begun.key,
        "spec": begun.spec,
        "inputs": [_input(one) for one in begun.inputs],
        "limits": limits,
        "lease_s": site.lease.seconds,
    }


def _begin_all(tx: Transaction, starts: list[work.Start]) -> Sequence[work.Begun | GridError]:
    answers = work.begin_all(tx, starts)
    reach("begin.open")
    return answers


def _input(file: File) -> dict[str, Any]:
    return {
        "name": str(file),
        "urls": list(file.urls),
        "bytes": file.bytes,
        "adler32": file.adler32,
        "xxh3": file.xxh3,
        "events": file.events,
        "fingerprint": file.fingerprint,
        "content": file.content,
    }


async def _renew(request: Request, body: requests.Renew) -> dict[str, Any]:
    site: Site = request.app.state.site
    leases = [work.Lease(one.job, one.epoch, one.runner) for one in body.leases]
    renewed = await _written(
        request,
        "renew",
        lambda tx: work.renew(tx, leases, lease_s=site.lease.seconds),
        ring=False,
        durable=False,
    )
    return {"lost": [{"job": one.job, "epoch": one.epoch, "runner": one.runner} for one in renewed.lost]}


async def _commit(request: Request, body: requests.Commit) -> dict[str, Any]:
    ledger: Ledger = request.app.state.ledger
    site: Site = request.app.state.site
    check_places(body.result, site.pool.path)
    lease = work.Lease(body.job, body.epoch, body.runner)

    ended = await asyncio.wrap_future(ledger.share(_commit_all, (lease, body.result)))
    reach("commit.durable")
    return {"state": ended.state, "repeated": ended.repeated}


def _commit_all(
    tx: Transaction, reported: list[tuple[work.Lease, dict[str, Any]]]
) -> list[work.Ended | GridError]:
    answers = work.commit_all(tx, reported)
    reach("commit.open")
    return answers


async def _fail(request: Request, body: requests.Fail) -> dict[str, Any]:
    site: Site = request.app.state.site
    ended = await _written(
        request,
        "fail",
        lambda tx: work.fail(
            tx,
            work.Lease(body.job, body.epoch, body.runner),
            body.failure,
            body.message,
            measured=body.measured,
            last_lines=body.last_lines,
            blamed=body.blamed,
            rules=site.failure_rules(),
        ),
    )
    return {"state": ended.state, "repeated": ended.repeated}


async def _release(request: Request, body: requests.Release) -> dict[str, Any]:
    leases = [work.Lease(one.job, one.epoch, one.runner or "") for one in body.leases]
    jobs = await _written(request, "release", lambda tx: work.give_back(tx, leases, worker=body.worker))
    return {"released": len(jobs)}


async def _written(
    request: Request, what: str, call: Callable[[Transaction], T], *, ring: bool = True, durable: bool = True
) -> T:
    """Make a call in the ledger's next transaction; before and after its commit are points to be killed at."""

    def done(tx: Transaction) -> T:
        answer = call(tx)
        reach(f"{what}.open")
        return answer

    ledger: Ledger = request.app.state.ledger
    answer = await asyncio.wrap_future(ledger.submit(done, ring=ring, durable=durable))
    reach(f"{what}.durable")
    return answer
