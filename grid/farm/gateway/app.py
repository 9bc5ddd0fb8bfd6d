"""The gateway as an ASGI application."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from grid.farm.gateway.bell import Bell
from grid.farm.gateway.calls import calls
from grid.farm.gateway.daemons import Daemons
from grid.farm.gateway.guard import Guard
from grid.farm.gateway.ledger import Ledger
from grid.farm.gateway.reaper import Reaper
from grid.farm.gateway.refusals import Refusals
from grid.farm.gateway.routing import get
from sitecfg.errors import GatewayError, GridError, LedgerError, NotFound, StaleLease, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalog.engine import Catalog
    from grid.farm.gateway.daemons import Daemon
    from sitecfg.models import Site

__all__ = ["create_app"]


def create_app(
    catalog: Catalog,
    token: str,
    site: Site,
    *,
    routes: Sequence[BaseRoute] = (),
    daemons: Sequence[Daemon] = (),
) -> Starlette:
    """Return the gateway of a catalog.

    Handlers find ``request.app.state.ledger`` (a :class:`~grid.farm.gateway.ledger.Ledger`, for writing),
    ``.catalog`` (for reading) and ``.site``. What they raise as ``GridError`` is answered as JSON with a fitting
    status and logged; so is anything else, with 500, and the gateway goes on.

    Parameters
    ----------
    catalog
        An open catalog; the gateway does not close it.
    token
        What callers must show.
    site
        The settings.
    routes
        Further routes.
    daemons
        What looks after the catalog while the gateway runs; the reaper of leases is always there.
    """
    bell, refusals = Bell(), Refusals()
    ledger = Ledger(catalog, bell)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        longest = max(rule.longest_delay for rule in site.failure_rules().values())
        running = Daemons([Reaper(site.lease, longest), *daemons], catalog, bell)
        app.state.daemons = running
        try:
            yield
        finally:
            app.state.closing = True
            running.close()
            ledger.close()

    async def health(_request: Request) -> dict[str, Any]:
        return {"pid": os.getpid(), "site": site.name, "daemons": app.state.daemons.state()}

    app = Starlette(lifespan=lifespan, routes=[*calls(), get("/health", health), *routes])
    app.state.catalog, app.state.ledger, app.state.bell, app.state.site = catalog, ledger, bell, site
    app.state.closing, app.state.refusals = False, refusals
    app.add_exception_handler(GridError, _refused)
    app.add_exception_handler(ValidationError, _malformed)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_exception_handler(Exception, _unforeseen)
    app.add_middleware(Guard, token=token, body_limit=site.gateway.body_limit, refusals=refusals)
    return app


def _status(error: GridError) -> int:
    match error:
        case StaleLease():
            return 409
        case NotFound():
            return 404
        case GatewayError() | LedgerError():
            return 503
        case _:
            return 422


def _answer(request: Request, status: int, error: GridError) -> JSONResponse:
    request.app.state.refusals.note(request.scope, status, error)
    return JSONResponse(error.to_json(), status)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, GridError)
    return _answer(request, _status(error), error)


async def _malformed(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, ValidationError)
    said = [(".".join(map(str, one["loc"])), one["msg"]) for one in error.errors()[:20]]
    problems = [f"{place}: {what}" if place else what for place, what in said]
    refused = UsageError("the request is malformed: " + "; ".join(problems), where=request.url.path)
    return _answer(request, 422, refused)


async def _no_route(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    kind = NotFound if error.status_code == 404 else UsageError
    return _answer(request, error.status_code, kind(str(error.detail), where=request.url.path))


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    failed = LedgerError(
        f"the gateway failed: {type(error).__name__}: {error}",
        where=request.url.path,
        todo="look at log/gateway.log in the home",
    )
    return _answer(request, 500, failed)
