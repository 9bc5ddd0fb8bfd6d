"""What a request must be before anything looks at it: from somebody with the token, and of bounded size."""

from __future__ import annotations

import hmac
import json
from typing import TYPE_CHECKING

from sitecfg.errors import GridError, Unauthorized, UsageError
from sitecfg.units import format_bytes

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard"]


class Guard:
    """ASGI middleware that refuses strangers (401) and bodies above the limit (413).

    The token is compared before a byte of the body is read, in constant time. A body is read whole, and never
    more of it than the limit, whatever its header claims.

    Parameters
    ----------
    app
        What is guarded.
    token
        The bearer token.
    body_limit
        Bytes.
    """

    def __init__(self, app: ASGIApp, *, token: str, body_limit: int) -> None:
        self._app = app
        self._wanted = f"Bearer {token}".encode()
        self._limit = body_limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._wanted):
            error = Unauthorized(
                "the token is missing or wrong", todo="read it from run/gateway.json in the home"
            )
            await _refuse(send, 401, error)
            return
        claimed = headers.get(b"content-length", b"0")
        if not claimed.isdigit() or int(claimed[:20]) > self._limit:
            await _refuse(send, 413, self._too_large())
            return
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return  # the client is gone
            body += message.get("body", b"")
            if len(body) > self._limit:
                await _refuse(send, 413, self._too_large())
                return
            if not message.get("more_body", False):
                break
        await self._app(scope, _replay(bytes(body), receive), send)

    def _too_large(self) -> UsageError:
        return UsageError(
            f"the request is larger than {format_bytes(self._limit)}", where="gateway.body_limit"
        )


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _refuse(send: Send, status: int, error: GridError) -> None:
    body = json.dumps(error.to_json()).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
