"""Kept-alive HTTP connections to one gateway: the little that a small JSON call needs, and fast.

A worker makes two calls for each attempt, so what a call costs is what the farm's rate is made of.
"""

from __future__ import annotations

import json
import threading
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from sitecfg.errors import GatewayUnreachable

__all__ = ["Wire"]

#: Seconds that connecting may take.
CONNECT_S = 5.0
#: Idle connections that are kept.
KEPT = 64


class Wire:
    """Connections to the gateway at one address. Thread-safe.

    Parameters
    ----------
    url
        Like ``http://127.0.0.1:8123``.
    token
        Shown with every call.
    """

    def __init__(self, url: str, token: str) -> None:
        self.url = url
        parts = urlsplit(url)
        self._kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._host, self._port = parts.hostname or "", parts.port
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self._idle: list[HTTPConnection] = []
        self._lock = threading.Lock()

    def ask(
        self, method: str, path: str, body: Any, *, answer_s: float, again: bool = True
    ) -> tuple[int, Any]:
        """Make one call and return the status and the answer.

        Parameters
        ----------
        method, path, body
            The call; `body` is sent as JSON.
        answer_s
            How long the answer may take.
        again
            Whether the call may be made once more when an idle connection turns out to be closed.

        Raises
        ------
        GatewayUnreachable
            The connection failed on the way, or what answers there is no gateway.
        """
        content = None if body is None else json.dumps(body).encode()
        while True:
            connection, used = self._connection(answer_s)
            try:
                connection.request(method, path, content, self._headers)
                response = connection.getresponse()
                text = response.read()
            except (OSError, HTTPException) as error:
                connection.close()
                # The other end may have closed a connection that was idle. That says nothing about a new one.
                if again and used and not isinstance(error, TimeoutError):
                    continue
                raise GatewayUnreachable(f"{type(error).__name__}: {error}", where=self.url) from error
            self._keep(connection)
            try:
                return response.status, json.loads(text)
            except ValueError as error:
                what = f"what answers there is no gateway (HTTP {response.status})"
                raise GatewayUnreachable(what, where=self.url) from error

    def close(self) -> None:
        """Close the idle connections."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _connection(self, answer_s: float) -> tuple[HTTPConnection, bool]:
        with self._lock:
            kept = self._idle.pop() if self._idle else None
        if kept is not None and kept.sock is not None:
            kept.sock.settimeout(answer_s)
            return kept, True
        connection = self._kind(self._host, self._port, timeout=CONNECT_S)
        try:
            connection.connect()
        except OSError as error:
            raise GatewayUnreachable(f"{type(error).__name__}: {error}", where=self.url) from error
        connection.sock.settimeout(answer_s)
        return connection, False

    def _keep(self, connection: HTTPConnection) -> None:
        with self._lock:
            if connection.sock is not None and len(self._idle) < KEPT:
                self._idle.append(connection)
                return
        connection.close()
