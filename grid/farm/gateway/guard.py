"""What a request must be before anything looks at it: from somebody with the token, JSON, and of bounded size."""

from __future__ import annotations

import asyncio
import hmac
import json
from typing import TYPE_CHECKING

from sitecfg.errors import GridError, Unauthorized, UsageError
from sitecfg.units import format_bytes

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from grid.farm.gateway.refusals import Refusals

__all__ = ["Guard"]

#: How long a body may take to come, seconds.
BODY_S = 60.0


class Guard:
    """ASGI middleware that refuses strangers (401), bodies above the limit (413), and what is not JSON (415).

    The token is compared before a byte of the body is read, in constant time. A body is read whole, and never
    more of it than the limit, whatever its header claims; who is too slow with it is cut off (408).

    Parameters
    ----------
    app
        What is guarded.
    token
        The bearer token.
    body_limit
        Bytes.
    refusals
        Told of each refusal.
    """

    def __init__(self, app: ASGIApp, *, token: str, body_limit: int, refusals: Refusals) -> None:
        self._app = app
        self._wanted = f"Bearer {token}".encode()
        self._limit = body_limit
        self._refusals = refusals

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        try:
            self._check(scope)
            async with asyncio.timeout(BODY_S):
                body = await self._read(receive)
        except _Refused as refused:
            await self._refuse(scope, send, refused)
        except TimeoutError:
            late = UsageError(f"the request did not come within {BODY_S:g} s")
            await self._refuse(scope, send, _Refused(408, late))
        else:
            if body is not None:
                await self._app(scope, _replay(body, receive), send)

    def _check(self, scope: Scope) -> None:
        headers = dict(scope["headers"])
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._wanted):
            error = Unauthorized(
                "the token is missing or wrong", todo="read it from run/gateway.json in the home"
            )
            raise _Refused(401, error)
        if not scope["path"].isprintable():
            raise _Refused(400, UsageError("the path has characters that no name has"))
        claimed = headers.get(b"content-length", b"0")
        if not claimed.isdigit() or int(claimed[:20]) > self._limit:
            raise self._too_large()
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if scope["method"] == "POST" and kind != b"application/json":
            raise _Refused(415, UsageError("what is sent must be application/json"))

    async def _read(self, receive: Receive) -> bytes | None:
        """Return the whole body; None when the client went away."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > self._limit:
                raise self._too_large()
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> _Refused:
        limit = format_bytes(self._limit)
        return _Refused(413, UsageError(f"the request is larger than {limit}", where="gateway.body_limit"))

    async def _refuse(self, scope: Scope, send: Send, refused: _Refused) -> None:
        self._refusals.note(scope, refused.status, refused.error)
        body = json.dumps(refused.error.to_json()).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": refused.status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class _Refused(Exception):
    """A request goes no further."""

    def __init__(self, status: int, error: GridError) -> None:
        super().__init__(status)
        self.status = status
        self.error = error


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
