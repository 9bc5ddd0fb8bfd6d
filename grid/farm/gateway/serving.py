"""The HTTP server of a gateway: as uvicorn makes it, but with callers who take for ever cut off."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from sitecfg.errors import UsageError

if TYPE_CHECKING:
    import asyncio

    from starlette.applications import Starlette

__all__ = ["server"]

#: How long the head of a request may take to come, seconds.
HEAD_S = 20.0
#: How long a connection on which nothing is asked stays, seconds.
IDLE_S = 120


def server(app: Starlette, *, head_s: float = HEAD_S) -> uvicorn.Server:
    """Return a server of the gateway's application; it must be run with sockets that listen already."""

    class Protocol(_Impatient):
        seconds = head_s

    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=Protocol,
            log_level="warning",
            access_log=False,
            ws="none",
            timeout_graceful_shutdown=1,
            timeout_keep_alive=IDLE_S,
        )
    )


class _Impatient(H11Protocol):
    """Answers what is no HTTP in the gateway's own way, and drops a caller whose request never gets a head."""

    seconds: float
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._unwatch()
        elif self._late is None:
            self._watch()

    def send_400_response(self, msg: str) -> None:
        self._note(400, msg)
        super().send_400_response(msg)

    def _watch(self) -> None:
        self._late = self.loop.call_later(self.seconds, self._give_up)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _give_up(self) -> None:
        self._note(408, f"the head of the request did not come within {self.seconds:g} s")
        self.transport.close()

    def _note(self, status: int, why: str) -> None:
        app: Any = self.config.app
        scope = {"method": "?", "path": "?", "client": self.client}
        app.state.refusals.note(scope, status, UsageError(why))
