"""Routes: a body that is read and checked in one step, by hand, and an answer in JSON.

The ledger's calls are what the farm's rate is made of, and a gateway that died must be back soon; a framework that
also writes schemas of all it is asked takes longer for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse
from starlette.routing import Route

from grid.farm.gateway.body import strictly

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pydantic import BaseModel
    from starlette.requests import Request
    from starlette.responses import Response

__all__ = ["get", "in_thread", "post"]

P = ParamSpec("P")
if TYPE_CHECKING:
    B = TypeVar("B", bound=BaseModel)
    Answer: TypeAlias = dict[str, Any]


def post(path: str, body: type[B], call: Callable[[Request, B], Awaitable[Answer]]) -> Route:
    """Return the route of a call with a body.

    Parameters
    ----------
    path
        Its path, as Starlette's routes have it.
    body
        What the JSON must be; anything else is refused before `call` hears of it.
    call
        Is given the request and its body, and returns what is answered.
    """

    async def answer(request: Request) -> Response:
        asked = body.model_validate(strictly(await request.body()))
        return JSONResponse(await call(request, asked))

    return Route(path, answer, methods=["POST"])


def get(path: str, call: Callable[[Request], Awaitable[Answer]]) -> Route:
    """Return the route of a question without a body."""

    async def answer(request: Request) -> Response:
        return JSONResponse(await call(request))

    return Route(path, answer, methods=["GET"])


def in_thread(call: Callable[P, Answer]) -> Callable[P, Awaitable[Answer]]:
    """Make a call that blocks one that is awaited, in a thread of its own."""

    async def awaited(*args: P.args, **kwargs: P.kwargs) -> Answer:
        return await run_in_threadpool(call, *args, **kwargs)

    return awaited
