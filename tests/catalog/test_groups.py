"""Many begin or commit together: each is answered as if it had come alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import uuid4

from catalog import status, work
from catalog.leases import Ended, Lease, Start
from catalog.states import JobState, Kind
from sitecfg.errors import ClosureError, StaleLease
from tests.catalog.world import LEASE_S, processed, written

if TYPE_CHECKING:
    from tests.catalog.world import World


def claim(world: World, number: int, *kinds: Kind) -> list[Lease]:
    with world.catalog.write() as tx:
        claims = work.claim(tx, cell="c", limit=number, lease_s=LEASE_S, kinds=kinds or None)
    assert len(claims) == number
    return [Lease(one.job, one.epoch, uuid4().hex) for one in claims]


def begin(world: World, leases: list[Lease]) -> list[work.Begun | StaleLease]:
    with world.catalog.write() as tx:
        return work.begin_all(tx, [Start(lease, "host", "w1", 7, LEASE_S) for lease in leases])


def commit(world: World, reported: list[tuple[Lease, dict[str, Any]]]) -> list[Any]:
    with world.catalog.write() as tx:
        return work.commit_all(tx, reported)


def test_starts_together(world: World) -> None:
    world.declare(["a.root", "b.root", "c.root"])
    first, second, third = claim(world, 3)
    rival = Lease(first.job, first.epoch, uuid4().hex)
    old = Lease(third.job, third.epoch - 1, third.runner)
    answers = begin(world, [first, rival, second, first, old, Lease(999, 1, uuid4().hex)])
    assert [one.job if isinstance(one, work.Begun) else StaleLease for one in answers] == [
        first.job,
        StaleLease,
        second.job,
        first.job,
        StaleLease,
        StaleLease,
    ]
    assert answers[0] == answers[3]
    assert [file.name for one in answers[:3:2] for file in one.inputs] == ["a.root", "b.root"]  # type: ignore[union-attr]
    with world.catalog.read() as tx:
        assert [len(status.attempts(tx, one.job)) for one in (first, second, third)] == [1, 1, 0]
        (attempt,) = status.attempts(tx, first.job)
    assert (attempt.worker, attempt.host) == ("w1", "host")


def test_results_together(world: World) -> None:
    world.declare(["a.root", "b.root", "c.root"])
    first, second, third = claim(world, 3)
    begin(world, [first, second])
    good, other = {"file": written("a.root", [1, 2])}, {"file": written("a.root", [1, 2, 3])}
    answers = commit(
        world,
        [
            (first, good),
            (third, good),
            (second, {"file": written("b.root", [7])}),
            (first, good),
            (first, other),
        ],
    )
    assert answers[0] == Ended(first.job, JobState.DONE)
    assert isinstance(answers[1], StaleLease)
    assert answers[2] == Ended(second.job, JobState.DONE)
    assert answers[3] == Ended(first.job, JobState.DONE, repeated=True)
    assert isinstance(answers[4], StaleLease)


def test_a_result_that_is_refused_leaves_nothing_and_stops_no_other(world: World) -> None:
    ids = world.take_in({"a.root": [1, 2, 3], "b.root": [4, 5, 6], "c.root": [7, 8, 9]})
    production = world.produce(ids)
    world.add(production, Kind.PROCESS, [(one,) for one in ids])
    leases = claim(world, 3, Kind.PROCESS)
    tasks = [one for one in begin(world, leases) if isinstance(one, work.Begun)]
    results = [
        processed(lease, task, events)
        for lease, task, events in zip(leases, tasks, ([1, 2, 3], [4, 5], [7, 8, 9]), strict=True)
    ]
    answers = commit(world, list(zip(leases, results, strict=True)))
    assert [type(one) for one in answers] == [Ended, ClosureError, Ended]
    with world.catalog.read() as tx:
        states = [status.one_job(tx, lease.job).state for lease in leases]
        assert states == [JobState.DONE, JobState.LEASED, JobState.DONE]
    assert world.commit(leases[1], processed(leases[1], tasks[1], [4, 5, 6])).state == JobState.DONE


def test_two_starts_of_one_job_in_one_renewal(world: World) -> None:
    world.declare(["a.root"])
    mine, _ = world.start()
    other = Lease(mine.job, mine.epoch, uuid4().hex)
    with world.catalog.write() as tx:
        renewed = work.renew(tx, [other, mine, mine], lease_s=LEASE_S)
    assert (renewed.kept, renewed.lost) == ((mine, mine), (other,))
