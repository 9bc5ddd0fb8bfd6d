"""A far machine: a network namespace behind a router that can be told to forward nothing any more."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from tests.services.missing import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: The farm's side of the test network, which nothing else uses.
NEAR = "10.213.7.1"
_NEAR_GATE, _FAR_GATE, _FAR = "10.213.7.2", "10.213.8.1", "10.213.8.2"


class Network:
    """Two links with a router between them; the far end sees loopback of its own and the near end's address.

    Parameters
    ----------
    mark
        Makes the names of namespaces and links this test's own.
    """

    def __init__(self, mark: str) -> None:
        self.far, self._router = f"mdcfar{mark}", f"mdcrouter{mark}"
        self._link = f"mdc{mark}"

    def make(self) -> None:
        for space in (self._router, self.far):
            ip("netns", "add", space)
            ip("-n", space, "link", "set", "lo", "up")
        ip("link", "add", self._link, "type", "veth", "peer", "name", "near", "netns", self._router)
        ip(
            "-n",
            self._router,
            "link",
            "add",
            "far",
            "type",
            "veth",
            "peer",
            "name",
            "outside",
            "netns",
            self.far,
        )
        ip("addr", "add", f"{NEAR}/24", "dev", self._link)
        ip("-n", self._router, "addr", "add", f"{_NEAR_GATE}/24", "dev", "near")
        ip("-n", self._router, "addr", "add", f"{_FAR_GATE}/24", "dev", "far")
        ip("-n", self.far, "addr", "add", f"{_FAR}/24", "dev", "outside")
        ip("link", "set", self._link, "up")
        for space, link in ((self._router, "near"), (self._router, "far"), (self.far, "outside")):
            ip("-n", space, "link", "set", link, "up")
        ip("route", "add", f"{_FAR}/32", "via", _NEAR_GATE)
        ip("-n", self.far, "route", "add", "default", "via", _FAR_GATE)
        self.heal()

    def cut(self) -> None:
        """Forward nothing: no answer, no error, as when a cable is pulled somewhere in between."""
        self._forward("0")

    def heal(self) -> None:
        self._forward("1")

    def remove(self) -> None:
        for space in (self.far, self._router):
            subprocess.run([_IP, "netns", "del", space], check=False)
        subprocess.run([_IP, "link", "del", self._link], check=False, stderr=subprocess.DEVNULL)

    def _forward(self, word: str) -> None:
        ip("netns", "exec", self._router, "sh", "-c", f"echo {word} > /proc/sys/net/ipv4/ip_forward")


_IP = shutil.which("ip") or "/usr/sbin/ip"


def ip(*words: str) -> None:
    done = subprocess.run([_IP, *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"


@contextmanager
def network() -> Iterator[Network]:
    """A network for one test; without the right to make one the test is skipped, in CI it fails."""
    allowed = os.geteuid() == 0 and os.access(_IP, os.X_OK)
    if not allowed or subprocess.run([_IP, "netns", "add", f"mdctry{os.getpid()}"], check=False).returncode:
        missing("a network namespace", "be root, and apt-get install iproute2")
    ip("netns", "del", f"mdctry{os.getpid()}")
    made = Network(str(os.getpid()))
    try:
        made.make()
        yield made
    finally:
        made.remove()


class Relay:
    """Passes on what comes to a port of the near address to a port of loopback: the farm itself listens only there.

    Parameters
    ----------
    target
        The port that is behind it; asked for each connection.
    """

    def __init__(self, target: Callable[[], int]) -> None:
        self._target = target
        self._listener = socket.create_server((NEAR, 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def close(self) -> None:
        """Take no more connections; those that are there end with their ends."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _accept(self) -> None:
        pumps: list[threading.Thread] = []
        with self._listener:
            while True:
                try:
                    outside, _ = self._listener.accept()
                except OSError:
                    break  # closed
                pumps.append(threading.Thread(target=_connect, args=(outside, self._target())))
                pumps[-1].start()
        for pump in pumps:
            pump.join()


def _connect(outside: socket.socket, port: int) -> None:
    """Pass on both ways until either end is gone."""
    with outside, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as inside:
        back = threading.Thread(target=_pump, args=(inside, outside))
        back.start()
        _pump(outside, inside)
        back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
    for one in (source, sink):
        with suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
