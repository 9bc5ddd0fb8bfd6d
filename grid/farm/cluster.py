"""The Dask part of a farm: one scheduler, and workers whose threads only wait for payload processes.

Dask keeps nothing that matters. Its own reruns, stealing, memory management and profiling are switched off: the
ledger decides what runs, and how often.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from grid.farm.home import read_state, write_state
from sitecfg.errors import GatewayUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from distributed import Security

    from grid.farm.home import Home

__all__ = ["SETTINGS", "address", "forget_names", "run_scheduler", "run_worker", "security"]

_log = logging.getLogger(__name__)

SETTINGS: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.work-stealing": False,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.active-memory-manager.start": False,
    "distributed.scheduler.no-workers-timeout": None,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.profile.enabled": False,
    "distributed.comm.timeouts.connect": "10s",
    # An idle farm should cost next to nothing: Dask's own clocks tick fifty times a second.
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.limit": "30s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.client.scheduler-info-interval": "1 minute",
    "distributed.diagnostics.nvml": False,
    "distributed.diagnostics.cudf": False,
    # Their pages have no login.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
LOOPBACK = "127.0.0.1"
#: Seconds that a worker tries to reach a scheduler before it looks for its address again.
SCHEDULER_S = 5
#: Seconds between two such tries.
AGAIN_S = 0.2
#: Names of tasks that Dask may remember in one process, and how often that is looked after, seconds.
NAMES = 10_000
LOOK_EVERY_S = 60.0


def security(home: Home) -> Security:
    """Return what everyone who talks to this home's scheduler must show."""
    from distributed import Security

    pem = str(home.dask_keys)
    roles = {
        f"tls_{role}_{part}": pem for role in ("client", "scheduler", "worker") for part in ("key", "cert")
    }
    return Security(tls_ca_file=pem, require_encryption=True, **roles)  # type: ignore[no-untyped-call]


def address(home: Home) -> str:
    """Return the scheduler's address.

    Raises
    ------
    GatewayUnreachable
        No Dask scheduler runs in this home.
    """
    state = read_state(home.dask)
    if state is None:
        raise GatewayUnreachable("no Dask scheduler is running", where=str(home.root), todo="grid up")
    return str(state["address"])


def run_scheduler(home: Home) -> None:
    """Be the scheduler until killed. It takes the port of the one before it, so that workers find it again."""
    import dask
    from distributed import Scheduler

    async def serve() -> None:
        before = read_state(home.dask) or {}
        for port in (before.get("port", 0), 0):
            scheduler = Scheduler(
                host=LOOPBACK,
                port=port,
                protocol="tls",
                security=security(home),
                dashboard=False,
                dashboard_address=f"{LOOPBACK}:0",
            )
            try:
                await scheduler
            except OSError:
                if port == 0:
                    raise
            else:
                break
        write_state(home.dask, {"address": scheduler.address, "port": scheduler.port})
        forgetting = asyncio.create_task(_forget())
        await scheduler.finished()  # type: ignore[no-untyped-call]
        forgetting.cancel()

    with dask.config.set(SETTINGS):
        asyncio.run(serve())


def run_worker(home: Home, name: str, slots: int) -> None:
    """Be a worker until killed.

    The attempts outlive the scheduler. When it is lost, the slots that are free join the next one as a new Dask
    worker in this same process, and each that is busy joins when its attempt is over: Dask must not think that it
    is free.
    """
    import dask

    with dask.config.set(SETTINGS):
        asyncio.run(_share_slots(home, name, slots))


def forget_names() -> None:
    """Have Dask forget tasks that are long over: it remembers the last 100,000 names, 20 MB of them."""
    from dask.utils import key_split

    if key_split.cache_info().currsize > NAMES:
        key_split.cache_clear()


async def _forget() -> None:
    while True:
        await asyncio.sleep(LOOK_EVERY_S)
        forget_names()


async def _share_slots(home: Home, name: str, slots: int) -> None:
    freed: asyncio.Queue[int] = asyncio.Queue()
    freed.put_nowait(slots)
    lives: set[asyncio.Task[None]] = {asyncio.create_task(_forget())}
    while True:
        count = await freed.get()
        while not freed.empty():
            count += freed.get_nowait()
        life = asyncio.create_task(_live(home, name, count, freed))
        lives.add(life)
        life.add_done_callback(lives.discard)


async def _live(home: Home, name: str, slots: int, freed: asyncio.Queue[int]) -> None:
    """Be one Dask worker for as long as its scheduler lives; then free its slots, each when it is idle."""
    from distributed import Worker

    threads = _Threads(slots)
    try:
        async with Worker(
            address(home),
            name=f"{name}.{secrets.token_hex(3)}",
            nthreads=slots,
            executor=threads,
            security=security(home),
            protocol="tls",
            host=LOOPBACK,
            dashboard=False,
            dashboard_address=f"{LOOPBACK}:0",
            memory_limit=0,
            local_directory=str(home.scratch),
            death_timeout=SCHEDULER_S,
        ) as worker:
            await worker.finished()
    except (OSError, TimeoutError, RuntimeError) as error:
        _log.warning("no scheduler: %s", error)
    await asyncio.sleep(AGAIN_S)
    busy = threads.retire()
    if slots > len(busy):
        freed.put_nowait(slots - len(busy))
    for attempt in asyncio.as_completed([asyncio.wrap_future(one) for one in busy]):
        await asyncio.gather(attempt, return_exceptions=True)
        freed.put_nowait(1)


class _Threads(ThreadPoolExecutor):
    """Threads that Dask may not wait for: what they run outlives the Dask worker that started it."""

    def __init__(self, count: int) -> None:
        super().__init__(count, thread_name_prefix="slot")
        self._running: set[Future[Any]] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a call, and remember it while it runs."""
        future = super().submit(fn, *args, **kwargs)
        self._running.add(future)
        future.add_done_callback(self._running.discard)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Start nothing more; never wait."""
        super().shutdown(wait=False, cancel_futures=True)

    def retire(self) -> list[Future[Any]]:
        """Start nothing more, and return what still runs."""
        self.shutdown()
        return list(self._running)
