"""One attempt of one job: begin, run the payload, keep the lease, commit or fail.

:func:`run_attempt` is all that a dispatcher hands to a slot. It takes plain numbers, keeps everything durable
in the ledger, and returns nothing, so it does not matter who started it or whether they still live.
"""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import time
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from grid.farm import node as nodes
from grid.farm.child import in_words
from grid.farm.leases import Held
from grid.farm.payload import Ended, Order
from grid.farm.watchdog import Limits
from sitecfg.errors import GatewayError, GridError, StaleLease
from sitecfg.points import reach

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from grid.farm.node import Node

__all__ = ["run_attempt"]

_log = logging.getLogger(__name__)
#: A reason that is longer loses its middle; the attempt's log has it whole.
LONGEST_REASON = 10_000
#: No file that an input could be has a longer address.
LONGEST_BLAMED = 4_000
#: What a job's payloads printed stays for so many of its starts.
KEPT_LOGS = 5


def run_attempt(job: int, epoch: int) -> None:
    """Run a claimed job on this process's node; blocks until it is over.

    Harmless when repeated: only the first start of an epoch begins, any other stops at once. A failure of the
    payload goes to the ledger and is not raised. Nothing is recorded when the lease was lost or the gateway could
    not be asked for as long as the lease lasts: then the ledger gives the job to somebody else.
    """
    node = nodes.current()
    runner = str(uuid.uuid4())
    asked = time.monotonic()
    try:
        begun = node.client.begin(job, epoch, runner, host=node.host, pid=os.getpid(), worker=node.worker)
    except (StaleLease, GatewayError):
        return
    held = Held((job, epoch, runner), begun["lease_s"], asked, fence=node.site.lease.fence_fraction)
    node.keeper.hold(held)
    reach("attempt.begun")
    try:
        try:
            ended = _run(node, held, begun)
        except Exception as error:  # noqa: BLE001 -- unreported, it would be tried again for ever
            _log.exception("job %d epoch %d could not be run", job, epoch)
            ended = _broken(in_words(error))
        reach(f"attempt.ended@{begun['kind']}")
        _report(node, held, ended)
        reach("attempt.committed")
    except GridError as error:
        _log.warning("job %d epoch %d is left to its lease: %s", job, epoch, error)
    finally:
        node.keeper.drop(held)


def _run(node: Node, held: Held, begun: dict[str, Any]) -> Ended:
    job, epoch, runner = held.key
    mark = f"job {job} epoch {epoch}{_working_on([one['name'] for one in begun['inputs']])}"
    with _workspace(node.scratch / f"{job}.{epoch}.{runner[:8]}") as scratch:
        spec = {
            **begun["spec"],
            "production": begun["production"],
            "key": begun["key"],
            "inputs": begun["inputs"],
            "attempt": {
                "job": job,
                "epoch": epoch,
                "runner": runner,
                "scratch": str(scratch),
                "pool": str(node.site.pool.path),
                "reserve": node.site.pool.reserve,
                "scripts": str(node.home.scripts),
                "memory": node.site.workers.chunk,
            },
        }
        if node.payloads is None:
            return _run_inline(begun["kind"], spec)
        output = node.home.attempts / f"{job}.{epoch}.{runner[:8]}.log"
        seed = f"{begun['production']}/{begun['kind']}/{begun['key']}"
        order = Order(begun["kind"], spec, Limits(**begun["limits"]), scratch, output, mark, seed)
        ended = node.payloads.run(order, abandoned=lambda: held.lost)
        if not output.stat().st_size:
            output.unlink()
        _drop_old_logs(output.parent, job, epoch)
        return ended


def _working_on(names: Sequence[str]) -> str:
    """Name the files of an attempt: what is told of a payload that died can't be told by itself."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f" on {names[0]}{more}" if names else ""


def _drop_old_logs(folder: Path, job: int, epoch: int) -> None:
    """Bound what a job leaves that is tried without end; the ledger keeps the last lines of each attempt."""
    if epoch <= KEPT_LOGS:
        return
    for path in folder.glob(f"{job}.*.log"):
        if int(path.name.split(".")[1]) <= epoch - KEPT_LOGS:
            path.unlink(missing_ok=True)


@contextmanager
def _workspace(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _broken(error: GridError) -> Ended:
    """Return the end of an attempt whose payload never ran: the farm itself is at fault."""
    return Ended(None, error, error.failure, {}, "")


def _run_inline(kind: str, spec: dict[str, Any]) -> Ended:
    started = time.monotonic()
    step = importlib.import_module(f"grid.steps.{kind}")
    try:
        result: dict[str, Any] | None = step.run(spec, lambda _done, _total: None)
        error = None
    except GridError as failed:
        result, error = None, failed
    measured = {
        "cpu_s": 0.0,
        "wall_s": time.monotonic() - started,
        "peak_rss": 0,
        "bytes_in": 0,
        "bytes_out": 0,
    }
    if result is not None:
        result["measured"] = measured
    return Ended(result, error, error.failure if error else "", measured, "")


def _report(node: Node, held: Held, ended: Ended) -> None:
    """Commit or fail; a commit that the ledger refuses for its content is a failure too."""
    if held.lost or (held.fenced and not node.keeper.confirm(held)):
        return
    job, epoch, runner = held.key
    if ended.result is not None:
        try:
            node.client.commit(job, epoch, runner, _keepable(ended.result), patience_s=held.lease_s)
        except (StaleLease, GatewayError):
            raise
        except GridError as refused:
            ended = Ended(None, refused, refused.failure, ended.measured, ended.last_lines)
        else:
            return
    assert ended.error is not None
    node.client.fail(
        job,
        epoch,
        runner,
        failure=ended.failure,
        message=_plain(_cut(str(ended.error))),
        measured=ended.measured,
        last_lines=_plain(ended.last_lines),
        blamed=_plain(ended.error.where)[:LONGEST_BLAMED] or None,
        patience_s=held.lease_s,
    )


def _cut(text: str) -> str:
    """Bound what a user's error says: a report that the gateway refuses as too long would never hold its job."""
    left_out = len(text) - LONGEST_REASON
    if left_out <= 0:
        return text
    half = LONGEST_REASON // 2
    return f"{text[:half]} [{left_out} characters left out] {text[-half:]}"


def _keepable(value: Any) -> Any:
    """Spell out what no database keeps in a text: NUL, and the bytes of names in files that are no UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode().replace("\0", "\\x00")
    if isinstance(value, dict):
        return {_keepable(key): _keepable(one) for key, one in value.items()}
    return [_keepable(one) for one in value] if isinstance(value, list | tuple) else value


def _plain(text: str) -> str:
    """Spell what a terminal would obey, or a database can't keep, as Python would write it."""
    return "".join(
        one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text
    )
