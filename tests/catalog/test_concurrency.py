"""Many claimers at once, in threads and in processes that are killed: every job is done exactly once."""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from sqlalchemy import insert, select

from catalog import files, jobs, status, work
from catalog.engine import Catalog
from catalog.invariants import violations
from catalog.leases import Lease
from catalog.schema_runs import stream
from catalog.states import Kind
from sitecfg.errors import StaleLease
from sitecfg.failures import Change, with_changes
from tests.catalog.world import written

if TYPE_CHECKING:
    from tests.catalog.world import World


def fill(catalog: Catalog, number: int) -> None:
    with catalog.write() as tx:
        raw = files.add_dataset(tx, "test", "raw", "raw")
        ids = files.register_files(tx, raw.id, [(f"{n}.root", f"file:///{n}") for n in range(number)]).added
        jobs.add_jobs(tx, None, Kind.INTAKE, [jobs.NewJob(str(one), (one,)) for one in ids])


def work_through(catalog: Catalog, worker: str, lease_s: float) -> list[int]:
    """Claim, begin and commit until nothing is left; return the jobs that were committed here."""
    done: list[int] = []
    while True:
        with catalog.write() as tx:
            work.reap(tx)
            claims = work.claim(tx, cell=worker, limit=3, lease_s=lease_s)
        if not claims:
            with catalog.read() as tx:
                if set(status.job_counts(tx, None)["intake"]) == {"done"}:
                    return done
            time.sleep(0.005)
        for claim in claims:
            lease = Lease(claim.job, claim.epoch, uuid4().hex)
            try:
                with catalog.write() as tx:
                    begun = work.begin(tx, lease, host="h", worker=worker, lease_s=lease_s)
                with catalog.write() as tx:
                    work.commit(tx, lease, {"file": written(begun.inputs[0].name, [claim.job])})
            except StaleLease:
                continue
            done.append(claim.job)


def test_threads_share_the_jobs_without_doing_one_twice(world: World) -> None:
    fill(world.catalog, 60)
    done: list[int] = []
    threads = [
        threading.Thread(target=lambda n=n: done.extend(work_through(world.catalog, f"w{n}", 100.0)))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(done) == Counter(range(1, 61))
    with world.catalog.read() as tx:
        assert violations(tx) == []
        assert all(len(status.attempts(tx, number)) == 1 for number in done)


@dataclass
class Story:
    """What was granted to whom, told by those to whom it was granted; lists may be added to from any thread."""

    claimed: list[tuple[int, int]] = field(default_factory=list)
    begun: list[Lease] = field(default_factory=list)
    committed: list[Lease] = field(default_factory=list)
    failed: list[Lease] = field(default_factory=list)

    def check(self, catalog: Catalog, number: int) -> None:
        """One claimer for each epoch, one start of each claim, one end of each start, one commit of each job."""
        assert all(count == 1 for count in Counter(self.claimed).values())
        assert all(count == 1 for count in Counter((one.job, one.epoch) for one in self.begun).values())
        assert all(count == 1 for count in Counter(self.committed + self.failed).values())
        assert set(self.committed + self.failed) <= set(self.begun)
        assert Counter(one.job for one in self.committed) == Counter(range(1, number + 1))
        with catalog.read() as tx:
            assert violations(tx) == []
            for last in self.committed:
                # Nobody was given the job after its commit, and no claim got lost before.
                assert status.one_job(tx, last.job).epoch == last.epoch
                epochs = sorted(epoch for job, epoch in self.claimed if job == last.job)
                assert epochs == list(range(1, last.epoch + 1))
                told = {(one.epoch, one.worker): one.outcome for one in status.attempts(tx, last.job)}
                assert [key for key, outcome in told.items() if outcome == "done"] == [
                    (last.epoch, last.runner)
                ]
                assert set(told) == {(one.epoch, one.runner) for one in self.begun if one.job == last.job}


AT_ONCE = with_changes({"killed": Change(first_delay=0.0, longest_delay=0.0)})


def meddle(url: str, story: Story, seed: int, over: threading.Event) -> None:
    """Claim, begin what anybody claimed, renew, commit twice, fail, return, or go away, until all is done."""
    chance = random.Random(seed)
    with Catalog.open(url) as catalog:
        while not over.is_set():
            with catalog.write() as tx:
                work.reap(tx)
                claims = work.claim(tx, cell="c", limit=chance.randint(1, 3), lease_s=0.3)
            mine = [(one.job, one.epoch) for one in claims]
            story.claimed += mine
            for number, epoch in [*mine, *chance.sample(story.claimed, min(2, len(story.claimed)))]:
                try:
                    attempt(catalog, story, Lease(number, epoch, uuid4().hex), chance)
                except StaleLease:
                    continue
            with catalog.read() as tx:
                if set(status.job_counts(tx, None)["intake"]) == {"done"}:
                    over.set()


def attempt(catalog: Catalog, story: Story, lease: Lease, chance: random.Random) -> None:
    with catalog.write() as tx:
        begun = work.begin(tx, lease, host="h", worker=lease.runner, lease_s=0.3)
    story.begun.append(lease)
    match chance.choice(["commit", "commit", "commit", "fail", "return", "go"]):
        case "commit":
            result = {"file": written(begun.inputs[0].name, [lease.job])}
            with catalog.write() as tx:
                work.renew(tx, [lease], lease_s=0.3)
            with catalog.write() as tx:
                work.commit(tx, lease, result)
            story.committed.append(lease)
            with catalog.write() as tx:
                assert work.commit(tx, lease, result).repeated
        case "fail":
            with catalog.write() as tx:
                work.fail(tx, lease, "killed", "it was shot", rules=AT_ONCE)
            story.failed.append(lease)
        case "return":
            with catalog.write() as tx:
                work.give_back(tx, [lease])


@pytest.mark.parametrize("number", [25, pytest.param(150, marks=pytest.mark.slow)])
def test_claimers_who_meddle_get_each_claim_and_each_commit_once(
    catalog: Catalog, url: str, number: int
) -> None:
    fill(catalog, number)
    story, over, broken = Story(), threading.Event(), list[BaseException]()

    def run(seed: int) -> None:
        try:
            meddle(url, story, seed, over)
        except BaseException as error:  # noqa: BLE001 -- the test's own thread tells it
            broken.append(error)
            over.set()

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert broken == []
    story.check(catalog, number)


def test_a_write_that_reads_first_never_loses_to_another_one(catalog: Catalog, url: str) -> None:
    """A deferred transaction would fail when it comes to write, whatever it waits."""

    def add(name: str) -> None:
        with Catalog.open(url) as other, other.write() as tx:
            tx.execute(select(stream)).all()
            tx.execute(insert(stream).values(name=name, first_seen=0.0))

    with catalog.write() as tx:
        tx.execute(select(stream)).all()
        thread = threading.Thread(target=add, args=("B",))
        thread.start()
        thread.join(timeout=0.5)
        assert thread.is_alive(), "the other one waits for its turn"
        tx.execute(insert(stream).values(name="A", first_seen=0.0))
    thread.join()
    with catalog.read() as tx:
        assert set(tx.execute(select(stream.c.name)).scalars()) == {"A", "B"}


def test_processes_that_are_killed_lose_and_double_nothing(catalog: Catalog, url: str) -> None:
    fill(catalog, 60)
    code = (
        "from catalog.engine import Catalog\n"
        "from tests.catalog.test_concurrency import work_through\n"
        f"work_through(Catalog.open({url!r}), 'w', 0.3)\n"
    )
    running: list[subprocess.Popen[bytes]] = []
    deadline, killed = time.monotonic() + 120, 0
    try:
        while (counts := intakes(catalog)) != {"done": 60} and time.monotonic() < deadline:
            running = [one for one in running if one.poll() is None]
            while len(running) < 2:
                running.append(subprocess.Popen([sys.executable, "-c", code]))
            if counts.get("done", 0) > 15 * killed + 5 and killed < 3:
                kill(running.pop(0))
                killed += 1
            time.sleep(0.01)
    finally:
        for one in running:
            kill(one)
    assert intakes(catalog) == {"done": 60}
    assert killed == 3
    with catalog.read() as tx:
        assert violations(tx) == []


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


def intakes(catalog: Catalog) -> dict[str, int]:
    with catalog.read() as tx:
        return status.job_counts(tx, None)["intake"]
