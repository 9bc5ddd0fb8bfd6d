"""A production over many files of which most are spoiled: each has a clear end, and the rest is done."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import uproot

from catalog import find, status
from catalog.engine import Catalog
from catalog.states import Kind
from grid import Production, connect
from grid.mock.sample import make_sample
from sitecfg.names import Name
from tests.grid.house import House, identities
from tests.grid.spoiled import SOUND, SPOILED, cycles, odd_names

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.farm

#: What becomes of a file after a failure of each class.
AFTERWARDS = {
    "corrupt": "bad",
    "source-bad": "bad",
    "duplicates": "bad",
    "missing": "closed",
    "unsupported": "closed",
}


#: How often the tests' settings have them tried again.
RETRIED = {"corrupt": 1, "missing": 1, "source-bad": 0, "duplicates": 0, "unsupported": 0}


class Seen(NamedTuple):
    """What the catalog says of a file of a dataset: its state, and a job on it with its attempts."""

    state: str
    job: status.Job
    attempts: list[status.Attempt]


def attempts_on(house: House, dataset: str, kind: str) -> dict[str, Seen]:
    """Return what became of the jobs of a kind on each file of a dataset."""
    found = {}
    name = Name.parse(dataset)
    with Catalog.open(f"sqlite:///{house.home / 'catalog.sqlite'}") as catalog, catalog.read() as tx:
        for one in find.files(tx, find.dataset(tx, name.scope, name.name).id):
            for job in status.jobs(tx, file=one.id, kinds=[Kind(kind)]):
                found[Name.parse(str(one)).name] = Seen(one.state, job, status.attempts(tx, job.id))
    return found


def declare(house: House, dataset: str, paths: list[Path]) -> None:
    """Declare files whatever they are; the verb would refuse what is no file."""
    body: dict[str, Any] = {
        "dataset": dataset,
        "files": [{"name": path.name, "url": path.as_uri()} for path in paths],
        "identity": ["run", "luminosityBlock", "event"],
        "tree": [],
    }
    with connect(house.home) as connection:
        connection.client.post("/declare", body)


def test_every_spoiled_file_has_its_end_and_the_sound_ones_are_done(house: House, tmp_path: Path) -> None:
    made = make_sample(tmp_path / "raw", files=len(SOUND) + len(SPOILED), events=60, seed=5)
    paths = {}
    for name, one in zip([*SOUND, *SPOILED], made, strict=True):
        paths[name] = one.path.rename(one.path.with_name(f"{name}.root"))
    for name, change in SOUND.items():
        change(paths[name])
    for name, spoiled in SPOILED.items():
        spoiled.do(paths[name])
    declare(house, "spoiled:raw", list(paths.values()))
    facts = house.run(Production(name="spoiled", input="spoiled:raw", scope="spoiled"))
    assert facts["state"] == "stalled"

    found = attempts_on(house, "spoiled:raw", "intake")
    wrong = {}
    for name, spoiled in SPOILED.items():
        state, job, attempts = found[f"{name}.root"]
        right = (AFTERWARDS[spoiled.failure], "held", spoiled.failure)
        if (state, job.state, job.failure) != right or spoiled.said not in str(job.why):
            wrong[name] = (state, job.failure, job.why)
        assert {one.failure for one in attempts} == {spoiled.failure}, "it fails alike each time"
        assert len(attempts) == 1 + (RETRIED[spoiled.failure]), name
    assert not wrong
    assert len(facts["reasons"]) == 1

    sound = [paths[name] for name in SOUND]
    assert {found[path.name].state for path in sound} == {"on_disk"}
    assert Counter(identities(house.paths("spoiled:spoiled.all"))) == Counter(identities(sound))
    assert facts["events_in"] - facts["events_bad"] == len(identities(sound))
    assert {one["name"] for one in house.files("spoiled:spoiled.all.unmerged")} == {
        f"spoiled:spoiled.all--{path.name}" for path in sound
    }, "nothing is registered for what is spoiled"
    assert house("audit", "spoiled", "--json").json["findings"] == []


def test_only_the_last_cycle_of_a_tree_counts(house: House, tmp_path: Path) -> None:
    path = tmp_path / "cycles.root"
    path.touch()
    cycles(path)
    with uproot.open(path) as file:
        assert len(file.keys()) == 3
    facts = house.run(Production(name="cycles", input=path, scope="spoiled"))
    assert (facts["state"], facts["events_in"]) == ("complete", 30)
    assert sorted(identities(house.paths("spoiled:cycles.all"))) == [(5, 1, event) for event in range(30)]


def test_names_that_are_no_utf8_are_carried_and_told(house: House, tmp_path: Path) -> None:
    paths = [one.path for one in make_sample(tmp_path / "raw", files=2, events=60, seed=6)]
    for path in paths:
        odd_names(path)
    facts = house.run(Production(name="odd-names", input=paths, scope="spoiled"))
    assert (facts["state"], facts["events_in"]) == ("complete", 120)
    merged = house.paths("spoiled:odd-names.all")
    assert sorted(identities(merged)) == sorted(identities(paths))
    for path in merged:
        with uproot.open(path) as file:
            assert {b"HLT_Q", b"HLT_R", b"S"} <= {
                branch.name.encode("utf-8", "surrogateescape").removesuffix(b"\xff\x80\xe9")
                for branch in file["Events"].branches
            }
    with Catalog.open(f"sqlite:///{house.home / 'catalog.sqlite'}") as catalog, catalog.read() as tx:
        raw = find.dataset(tx, "spoiled", "odd-names.input")
        (note,) = find.facts(tx, find.files(tx, raw.id)[0].id)["notes"]
    assert r"HLT_R\udcff\udc80\udce9" in note
