"""Datasets and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from catalog import files, find, jobs, status
from catalog.invariants import violations
from catalog.states import DatasetState, FileState, Kind
from sitecfg.errors import BadName, DuplicateEvents, NotFound, OutputExists, UsageError

if TYPE_CHECKING:
    from catalog.engine import Catalog
    from catalog.rows import Dataset


def raw(catalog: Catalog, name: str = "raw") -> Dataset:
    with catalog.write() as tx:
        return files.add_dataset(tx, "test", name, "raw")


def test_a_dataset_is_made_once_and_found_by_name(catalog: Catalog) -> None:
    assert raw(catalog) == raw(catalog)
    with catalog.write() as tx:
        with pytest.raises(OutputExists):
            files.add_dataset(tx, "test", "raw", "unmerged")
        with pytest.raises(BadName):
            files.add_dataset(tx, "test", "a/b", "raw")
        with pytest.raises(NotFound, match="did you mean test:raw"):
            find.dataset(tx, "test", "rww")


def test_registering_again_changes_nothing(catalog: Catalog) -> None:
    target = raw(catalog)
    names = [(f"{n}.root", f"file:///{n}.root") for n in range(5)]
    with catalog.write() as tx:
        first = files.register_files(tx, target.id, names)
        again = files.register_files(tx, target.id, [*names, ("5.root", "file:///5.root")])
    assert (len(first.added), first.known) == (5, ())
    assert (len(again.added), again.known) == (1, first.added)
    with catalog.read() as tx:
        assert [one.name for one in find.files(tx, target.id)] == [f"{n}.root" for n in range(6)]
        assert {one.state for one in find.files(tx, target.id)} == {FileState.CLOSED}
        assert [one.where for one in violations(tx)] == [f"test:{n}.root" for n in range(6)], "no intake jobs"


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ([("a.root", "file:///other.root")], OutputExists),
        ([("b.root", "file:///a.root")], DuplicateEvents),
        ([("b.root", "file:///b.root"), ("c.root", "file:///b.root")], DuplicateEvents),
        ([("b.root", "file:///b.root"), ("b.root", "file:///c.root")], OutputExists),
        ([("b/c.root", "file:///b.root")], BadName),
    ],
)
def test_one_name_is_one_file_and_one_file_one_name(
    catalog: Catalog, more: list[tuple[str, str]], error: type[Exception]
) -> None:
    target = raw(catalog)
    with catalog.write() as tx:
        files.register_files(tx, target.id, [("a.root", "file:///a.root")])
    with pytest.raises(error), catalog.write() as tx:
        files.register_files(tx, target.id, more)
    with catalog.read() as tx:
        assert [one.name for one in find.files(tx, target.id)] == ["a.root"]


def test_a_name_belongs_to_one_dataset_but_a_url_may_be_in_two(catalog: Catalog) -> None:
    one, other = raw(catalog), raw(catalog, "other")
    with catalog.write() as tx:
        files.register_files(tx, one.id, [("a.root", "file:///a.root")])
        with pytest.raises(OutputExists):
            files.register_files(tx, other.id, [("a.root", "file:///a.root")])
        files.register_files(tx, other.id, [("a2.root", "file:///a.root")])


def test_a_closed_dataset_takes_nothing_new_and_a_frozen_one_stays_frozen(catalog: Catalog) -> None:
    target = raw(catalog)
    with catalog.write() as tx:
        files.register_files(tx, target.id, [("a.root", "file:///a.root")])
        files.set_dataset_state(tx, target.id, DatasetState.CLOSED)
        assert files.register_files(tx, target.id, [("a.root", "file:///a.root")]).known
        with pytest.raises(UsageError):
            files.register_files(tx, target.id, [("b.root", "file:///b.root")])
        files.set_dataset_state(tx, target.id, DatasetState.FROZEN)
        with pytest.raises(UsageError):
            files.set_dataset_state(tx, target.id, DatasetState.OPEN)


def test_many_files_and_jobs_at_once(catalog: Catalog) -> None:
    """More than fit into one statement, and more than one piece."""
    target = raw(catalog)
    number = 2500
    with catalog.write() as tx:
        added = files.register_files(
            tx, target.id, ((f"{n}.root", f"file:///{n}") for n in range(number))
        ).added
        made = jobs.add_jobs(tx, None, Kind.INTAKE, (jobs.NewJob(str(one), (one,)) for one in added))
        again = jobs.add_jobs(tx, None, Kind.INTAKE, (jobs.NewJob(str(one), (one,)) for one in added))
    assert (len(made), again) == (number, [])
    with catalog.read() as tx:
        assert status.job_counts(tx, None) == {"intake": {"ready": number}}
        assert len(find.files_by_id(tx, added)) == number
        assert violations(tx) == []
