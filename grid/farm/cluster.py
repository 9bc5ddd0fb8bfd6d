"""The Dask part of a farm: one scheduler, and workers whose threads only wait for payload processes.

Dask keeps nothing that matters. Its own reruns, stealing, memory management and profiling are switched off: the
ledger decides what runs, and how often.
"""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from grid.farm.home import read_state, write_state
from sitecfg.errors import GatewayUnreachable

if TYPE_CHECKING:
    from distributed import Security

    from grid.farm.home import Home

__all__ = ["SETTINGS", "address", "run_scheduler", "run_worker", "security"]

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
    "distributed.admin.tick.limit": "30s",
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
        await scheduler.finished()  # type: ignore[no-untyped-call]

    with dask.config.set(SETTINGS):
        asyncio.run(serve())


def run_worker(home: Home, name: str, slots: int) -> None:
    """Be a worker until killed.

    The attempts outlive the scheduler: when it is lost, a new Dask worker in this same process waits for the next
    one, while the threads go on with what they run, and new tasks wait for a free thread.
    """
    import dask
    from distributed import Worker

    threads = _Slots(slots, thread_name_prefix="slot")

    async def serve() -> None:
        while True:
            try:
                async with Worker(
                    address(home),
                    name=name,
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

    with dask.config.set(SETTINGS):
        asyncio.run(serve())


class _Slots(ThreadPoolExecutor):
    """Threads that outlive the Dask worker which uses them."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Do nothing: they end with the process."""
