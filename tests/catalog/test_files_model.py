"""Files against a plain-Python oracle: taken in, found bad, processed, withdrawn, retired, in any order."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from catalog import control, files, find, jobs, productions, status, sweep, withdrawal
from catalog.engine import Catalog
from catalog.invariants import violations
from catalog.states import DatasetState, Kind
from sitecfg.errors import DuplicateEvents, GridError, OutputExists, UsageError
from tests.catalog.world import SCOPE, Clock, World, processed, written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.catalog.databases import Databases

DATASETS = ("raw", "late")
NAMES = ("a.root", "b.root", "c.root")
#: What files may hold; the same twice is one file under two names.
EVENTS = ([1, 2, 3, 4], [5, 6])


@dataclass
class Oracle:
    """What an input file should be: no SQL, no cleverness."""

    number: int
    dataset: str
    url: str
    intake: int
    state: str = "closed"
    why: str | None = None
    readable: bool = True
    waits: str = "ready"
    holds: int | None = None
    #: The job that processed it, and the outputs that it has committed.
    job: int | None = None
    outputs: list[str] = field(default_factory=list)


class FilesMachine(RuleBasedStateMachine):
    """Two datasets that are opened and closed, and a production over whatever is in the first."""

    def __init__(self, databases: Databases) -> None:
        super().__init__()
        self.catalog = Catalog.open(databases.catalog(), clock=Clock.QUERY)
        self.world = World(self.catalog, Clock(self.catalog))
        self.files: dict[str, Oracle] = {}
        self.open = dict.fromkeys(DATASETS, True)
        self.withdrawn: list[int] = []
        self.production = self.world.produce([])
        with self.catalog.write() as tx:
            self.ids = {name: files.add_dataset(tx, SCOPE, name, "raw").id for name in DATASETS}

    def teardown(self) -> None:
        with self.catalog.read() as tx:
            assert violations(tx) == []
        self.catalog.close()

    # --- files come in ---------------------------------------------------------------------------------------------

    @rule(dataset=st.sampled_from(DATASETS), name=st.sampled_from(NAMES), place=st.sampled_from("xyz"))
    def register(self, dataset: str, name: str, place: str) -> None:
        url = f"file:///{place}"
        known = self.files.get(name)
        refused: type[GridError] | None = None
        if known is not None:
            refused = None if (known.dataset, known.url) == (dataset, url) else OutputExists
        elif not self.open[dataset]:
            refused = UsageError
        elif any((one.dataset, one.url) == (dataset, url) for one in self.files.values()):
            refused = DuplicateEvents
        if refused is not None:
            with pytest.raises(refused):
                self._register(dataset, name, url)
            return
        registered, made = self._register(dataset, name, url)
        if known is not None:
            assert (registered.added, registered.known, made) == ((), (known.number,), [])
        else:
            ((number,), (job,)) = (registered.added, made)
            self.files[name] = Oracle(number, dataset, url, job)

    def _register(self, dataset: str, name: str, url: str) -> tuple[files.Registered, list[int]]:
        with self.catalog.write() as tx:
            registered = files.register_files(tx, self.ids[dataset], [(name, url)])
            new = [jobs.NewJob(str(one), (one,)) for one in registered.added]
            return registered, jobs.add_jobs(tx, None, Kind.INTAKE, new)

    @rule(dataset=st.sampled_from(DATASETS), state=st.sampled_from([DatasetState.OPEN, DatasetState.CLOSED]))
    def close_or_open(self, dataset: str, state: DatasetState) -> None:
        with self.catalog.write() as tx:
            files.set_dataset_state(tx, self.ids[dataset], state)
        self.open[dataset] = state == DatasetState.OPEN

    @precondition(lambda self: self.waiting())
    @rule(holds=st.sampled_from(range(len(EVENTS))), twice=st.booleans(), repeated=st.booleans())
    def take_in(self, holds: int, twice: bool, repeated: bool) -> None:
        """The oldest intake job ends; `twice`: the file has an event twice."""
        one = self.waiting()[0]
        lease, _ = self.world.start(kinds=(Kind.INTAKE,))
        assert lease.job == one.intake
        facts = written(f"content {holds}", EVENTS[holds], section=holds + 1)
        result = {"file": {**facts, "duplicates": [[1, 1, 1]] if twice else None}}
        bad = twice or self._twin(one, holds) is not None
        for again in range(1 + repeated):
            ended = self.world.commit(lease, result)
            assert (ended.state, ended.repeated) == ("held" if bad else "done", bool(again))
        one.waits, one.holds = ended.state, holds
        one.state, one.why = ("bad" if bad else "on_disk"), ended.why

    @precondition(lambda self: self.waiting())
    @rule(failure=st.sampled_from(["source-bad", "config"]))
    def fail_to_take_in(self, failure: str) -> None:
        one = self.waiting()[0]
        lease, _ = self.world.start(kinds=(Kind.INTAKE,))
        ended = self.world.fail(lease, failure)
        one.waits = ended.state
        assert one.waits == "held"
        if failure == "source-bad":
            one.state, one.why, one.readable = "bad", "it failed", False

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        """A held job looks again, at files without what it said of them."""
        one = data.draw(self._some_file())
        with self.catalog.write() as tx:
            freed = jobs.free(tx, jobs=[one.intake])
        assert freed == ([one.intake] if one.waits == "held" else [])
        if not freed:
            return
        one.waits = "ready"
        if one.state == "bad":
            one.state, one.why, one.readable, one.holds = "closed", None, True, None

    # --- files are used, and taken back ----------------------------------------------------------------------------

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def process(self, data: st.DataObject) -> None:
        one = data.draw(self._some_file())
        if one.state != "on_disk" or one.job is not None or one.dataset != "raw":
            return
        with self.catalog.write() as tx:
            productions.add_inputs(tx, self.production, [one.number])
        (one.job,) = self.world.add(self.production, Kind.PROCESS, [(one.number,)])
        lease, begun = self.world.start(kinds=(Kind.PROCESS,))
        assert one.holds is not None
        result = processed(lease, begun, EVENTS[one.holds])
        assert self.world.commit(lease, result).state == "done"
        one.outputs = [each["name"] for each in result["outputs"]]

    @precondition(lambda self: self.files)
    @rule(data=st.data(), why=st.sampled_from(["no beam", "odd"]))
    def invalidate(self, data: st.DataObject, why: str) -> None:
        one = data.draw(self._some_file())
        with self.catalog.write() as tx:
            gone = withdrawal.invalidate(tx, find.files_by_id(tx, [one.number])[one.number], why)
        self._gone(gone, [one])
        if one.state != "bad":
            one.state, one.why, one.readable = "bad", why, False
        self._no_intake(one)

    @precondition(lambda self: any(one.outputs for one in self.files.values()))
    @rule(data=st.data())
    def invalidate_an_output(self, data: st.DataObject) -> None:
        one = data.draw(st.sampled_from([one for one in self.files.values() if one.outputs]))
        with self.catalog.write() as tx:
            gone = withdrawal.invalidate(
                tx, find.file(tx, SCOPE, data.draw(st.sampled_from(one.outputs))), "odd"
            )
        self._gone(gone, [one])

    @rule()
    def withdraw(self) -> None:
        with self.catalog.write() as tx:
            gone = withdrawal.withdraw(tx, productions.get(tx, "pass1"), "all of it")
        self._gone(gone, list(self.files.values()))

    @precondition(lambda self: self.files)
    @rule(data=st.data())
    def retire(self, data: st.DataObject) -> None:
        one = data.draw(self._some_file())
        with self.catalog.write() as tx:
            control.retire(tx, find.files_by_id(tx, [one.number])[one.number], "not this one")
        one.state, one.why = "retired", "not this one"
        self._no_intake(one)

    # --- what the catalog says -------------------------------------------------------------------------------------

    def waiting(self) -> list[Oracle]:
        return sorted(
            (one for one in self.files.values() if one.waits == "ready"), key=lambda one: one.intake
        )

    def _some_file(self) -> st.SearchStrategy[Oracle]:
        return st.sampled_from(sorted(self.files.values(), key=lambda one: one.number))

    def _twin(self, this: Oracle, holds: int) -> Oracle | None:
        """Another file of the dataset with these bytes that is used, or was and is in what was made."""
        used = (
            one
            for one in self.files.values()
            if one is not this and (one.dataset, one.holds) == (this.dataset, holds)
            if one.state == "on_disk" or (one.state == "retired" and one.outputs)
        )
        return next(used, None)

    def _no_intake(self, one: Oracle) -> None:
        """Nobody looks into it any more."""
        if one.waits != "done":
            one.waits = "cancelled"

    def _gone(self, gone: withdrawal.Withdrawal, of: list[Oracle]) -> None:
        assert set(gone.jobs) == {one.job for one in of if one.job is not None}
        assert {one.name for one in gone.files} == {name for one in of for name in one.outputs}
        self.withdrawn += [one.id for one in gone.files]
        for one in of:
            one.job, one.outputs = None, []

    @invariant()
    def the_catalog_says_what_the_oracle_says(self) -> None:
        with self.catalog.read() as tx:
            found = find.files_by_id(tx, [one.number for one in self.files.values()])
            for one in self.files.values():
                file = found[one.number]
                assert (file.state, file.why) == (one.state, one.why)
                assert file.urls == ((one.url,) if one.readable else ())
                assert status.one_job(tx, one.intake).state == one.waits
            outputs = [find.file(tx, SCOPE, name) for name in self._outputs()]
            assert {one.state for one in outputs} <= {"on_disk"}
            assert {one.state for one in find.files_by_id(tx, self.withdrawn).values()} <= {"retired"}
            for name, opened in self.open.items():
                assert find.dataset(tx, SCOPE, name).state == ("open" if opened else "closed")

    @invariant()
    def the_sweeper_is_told_of_every_copy(self) -> None:
        """Also of what is bad or withdrawn: nothing is deleted that somebody may want to look at."""
        with self.catalog.read() as tx:
            aside = [url for one in find.files_by_id(tx, self.withdrawn).values() for url in one.urls]
            urls = [*(one.url for one in self.files.values()), *aside]
            assert sweep.registered(tx, [*urls, "file:///stranger"]) == set(urls)
            used = {one.url for one in self.files.values() if one.state == "on_disk" and one.readable}
            assert {url for url, _ in sweep.copies(tx) if "/pool/" not in url} == used

    def _outputs(self) -> Iterator[str]:
        return (name for one in self.files.values() for name in one.outputs)


def run(databases: Databases, examples: int) -> None:
    run_state_machine_as_test(
        lambda: FilesMachine(databases),  # type: ignore[arg-type]  # any callable that makes one will do
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_files_are_what_the_oracle_says(databases: Databases) -> None:
    run(databases, 6)


@pytest.mark.slow
def test_files_are_what_the_oracle_says_for_long(databases: Databases) -> None:
    run(databases, 60)
