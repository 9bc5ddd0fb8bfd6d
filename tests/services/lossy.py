"""A proxy before a gateway that brings every request there, and not every reply back."""

from __future__ import annotations

import re
import socket
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Self

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)

#: What may become of a request and its reply.
FAULTS = {
    "drop": "the reply is lost, and the connection with it",
    "truncate": "half of the reply comes",
    "repeat": "the request arrives twice; the second reply comes",
    "late": "the connection is lost, and the request arrives behind the next one",
    "slow": "the reply takes a while",
}
#: How long a slow reply takes, seconds.
SLOW_S = 0.05


class LossyProxy:
    """Listens at a port of its own and passes whole HTTP messages on, from threads.

    Parameters
    ----------
    port
        Where the gateway listens.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._faults: Iterator[str] = iter(())
        self._arrived: Callable[[], object] = bool
        self._lock = threading.Lock()
        self._late: list[bytes] = []
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        #: How often each fault was done.
        self.done = dict.fromkeys(FAULTS, 0)

    @contextmanager
    def doing(self, faults: Iterable[str], arrived: Callable[[], object] = bool) -> Iterator[None]:
        """Do to each request what comes next in `faults`: one of :data:`FAULTS`, or "" for nothing.

        `arrived` is called after each delivery, before anything is done with its reply.
        """
        with self._lock:
            self._faults, self._arrived = iter(faults), arrived
        try:
            yield
        finally:
            with self._lock:
                self._faults, self._arrived = iter(()), bool

    def __enter__(self) -> Self:
        self._start(self._listen)
        return self

    def __exit__(self, *_error: object) -> None:
        self._closed.set()
        with self._lock:
            sockets = [self._listener, *self._open]
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._open.add(client)
        with client, suppress(OSError):
            while not self._closed.is_set() and (request := _message(client)):
                if not self._answer(client, request):
                    break
        with self._lock:
            self._open.discard(client)

    def _answer(self, client: socket.socket, request: bytes) -> bool:
        """Deal with one request; says whether the connection stays."""
        with self._lock:
            fault = next(self._faults, "")
            if fault:
                self.done[fault] += 1
            late, self._late = self._late, [request] if fault == "late" else []
        if fault == "late":
            for one in late:
                self._deliver(one)
            return False
        reply = self._deliver(request)
        for one in late:
            self._deliver(one)
        if fault == "repeat":
            reply = self._deliver(request)
        if fault == "slow":
            self._closed.wait(SLOW_S)
        if fault == "truncate":
            client.sendall(reply[: len(reply) // 2])
        elif fault != "drop":
            client.sendall(reply)
        return fault not in ("truncate", "drop")

    def _deliver(self, request: bytes) -> bytes:
        with socket.create_connection(("127.0.0.1", self._port)) as gateway:
            with self._lock:
                self._open.add(gateway)
            gateway.sendall(request)
            reply = _message(gateway)
            with self._lock:
                self._open.discard(gateway)
        if not reply:
            raise ConnectionError("the gateway gave no answer")
        self._arrived()
        return reply


def _message(connection: socket.socket) -> bytes:
    """Receive one HTTP message with its body; nothing when the other end closes before it is whole."""
    message = b""
    missing = 1
    while missing > 0:
        part = connection.recv(65536)
        if not part:
            return b""
        message += part
        head, end, body = message.partition(b"\r\n\r\n")
        if end:
            length = _LENGTH.search(head + b"\r\n")
            missing = (int(length[1]) if length else 0) - len(body)
    return message
