"""Pausing, priorities, cancelling, invalidating and closing, as an operator does them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from grid.mock.sample import make_sample
from grid.production import Production, connect
from sitecfg.errors import UsageError
from tests.grid.house import House, identities, tree_of, until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.farm

GATED = """
import time
from pathlib import Path
from grid import Production

def wait(events, conditions):
    while not Path({gate!r}).exists():
        time.sleep(0.02)
    return events

p = Production(name={name!r}, input={inputs!r}, process=wait, scope="op")
"""


@pytest.fixture
def raw(tmp_path: Path, request: pytest.FixtureRequest) -> list[Path]:
    """Four inputs of this test's own: their run sections are those of no other."""
    seed = sum(map(ord, request.node.name))
    return [one.path for one in make_sample(tmp_path / "raw", files=4, events=200, seed=seed)]


def gated(house: House, folder: Path, name: str, raw: list[Path]) -> Path:
    """Submit a production whose jobs wait for a file, which is returned."""
    gate = folder / "gate"
    text = GATED.format(gate=str(gate), name=name, inputs=[str(one) for one in raw])
    house.submit(*house.scripted(folder / "script", text))
    return gate


def seen(house: House, name: str) -> dict[str, Any]:
    answer: dict[str, Any] = house("status", name, "--json").json
    return answer


def test_a_pause_lets_runs_end_and_starts_nothing(house: House, tmp_path: Path, raw: list[Path]) -> None:
    gate = gated(house, tmp_path, "op-paused", raw)
    until(lambda: seen(house, "op-paused")["running"] == 2, 60)
    foreseen = house("pause", "op-paused", "--dry-run", "--json").json
    assert seen(house, "op-paused")["state"] == "active"
    assert house("pause", "op-paused", "--why", "night", "--json").json == foreseen == {"paused": 2}
    gate.touch()
    until(lambda: seen(house, "op-paused")["done"]["process"] == 2, 60)
    now = seen(house, "op-paused")
    assert (now["state"], now["running"], now["reasons"]) == ("paused", 0, ["night"])
    assert "2 jobs are ready" in house("resume", "op-paused").out
    assert house.watch("op-paused")["state"] == "complete"
    assert sorted(identities(house.paths("op:op-paused.all"))) == sorted(identities(raw))


def test_a_cancelled_production_keeps_what_it_has_or_gives_it_back(
    house: House, tmp_path: Path, raw: list[Path]
) -> None:
    gate = gated(house, tmp_path, "op-cancelled", raw)
    until(lambda: seen(house, "op-cancelled")["running"] == 2, 60)
    house("priority", "op-cancelled", "--", "-3")
    house("cancel", "op-cancelled", code=2)
    out = house("cancel", "op-cancelled", "--why", "wrong table").out
    assert out.startswith("4 jobs are cancelled, 0 files")
    gate.touch()
    assert seen(house, "op-cancelled")["state"] == "cancelled"
    house("audit", "op-cancelled")
    house("pause", "op-cancelled", code=2)
    again = house("run", *tmp_path.glob("script/*.py"), code=5).out
    assert "another name" in again
    assert "retry" not in again


def test_what_a_bad_file_went_into_is_made_again(house: House, raw: list[Path]) -> None:
    house.run(Production(name="op-bad", input=list(raw), scope="op"))
    (merged,) = house.files("op:op-bad.all")
    number = house("invalidate", merged["name"], "--why", "it looks odd", "--dry-run", "--json").json["file"]
    assert house.files("op:op-bad.all") == [merged]
    assert "--yes" in house("invalidate", merged["name"], "--why", "it looks odd", code=2).err
    assert "1 files are withdrawn" in house("invalidate", merged["name"], "--why", "odd", "--yes").out
    assert house.watch("op-bad")["state"] == "complete"
    (again,) = house.files("op:op-bad.all")
    assert (again["name"], again["fingerprint"]) == (merged["name"], merged["fingerprint"])
    assert again["urls"] != merged["urls"]
    (old,) = house.files("op:op-bad.all.withdrawn")
    assert (old["state"], old["why"]) == ("retired", "odd")
    with connect(house.home) as grid:
        call = {"what": merged["name"], "why": "odd", "file": number}
        assert grid.client.post("/invalidate", call)["withdrawn"] == [], (
            "the reply was lost, so it came again"
        )
        with pytest.raises(UsageError, match="is another"):
            grid.client.post("/invalidate", {**call, "file": 1 << 40})
    assert house.files("op:op-bad.all") == [again]

    source = f"op:op-bad--{raw[0].name}"
    said = house("invalidate", source, "--why", "no beam", "--yes", "--json").json
    assert sorted(said["withdrawn"]) == sorted([again["name"], f"op:op-bad.all--{raw[0].name}"])
    facts = house.watch("op-bad")
    assert facts["state"] == "stalled"
    assert "no beam" in " ".join(facts["reasons"])
    assert sorted(identities(house.paths("op:op-bad.all"))) == sorted(identities(raw[1:]))
    assert "verdict: the books close" in house("audit", "op-bad", "--deep").out


def test_a_dataset_grows_until_it_is_closed(house: House, raw: list[Path]) -> None:
    house("declare", "op:grows", raw[0], raw[1])
    house.run(Production(name="op-grows", input="op:grows", scope="op"))
    house("declare", "op:grows", raw[2])
    assert house.watch("op-grows")["events_in"] == 600
    assert "closed" in house("dataset", "close", "op:grows").out
    assert "closed" in house("declare", "op:grows", raw[3], code=2).err
    house("declare", "op:grows", raw[0])
    house("dataset", "open", "op:grows")
    house("declare", "op:grows", raw[3])
    assert house.watch("op-grows")["events_in"] == 800
    assert sorted(identities(house.paths("op:op-grows.all"))) == sorted(identities(raw))


def test_a_file_is_put_aside_before_it_is_used(house: House, tmp_path: Path, raw: list[Path]) -> None:
    gate = gated(house, tmp_path, "op-aside", raw)
    until(lambda: seen(house, "op-aside")["running"] == 2, 60)
    ready = [f"op:op-aside--{one.name}" for one in raw]
    counts = {name: house("pause", name, "--json").json["paused"] for name in ready}
    assert sum(counts.values()) == 2
    unwanted = next(name for name, paused in counts.items() if paused)
    house("cancel", unwanted, "--why", "cosmics")
    for name in ready:
        house("resume", name)
    gate.touch()
    facts = house.watch("op-aside")
    assert (facts["state"], facts["files_in"], facts["events_in"]) == ("complete", 3, 600)


def test_a_rehearsal_changes_nothing(house: House, raw: list[Path]) -> None:
    house.run(Production(name="op-dry", input=list(raw), scope="op"))
    before = (house("status", "op-dry", "--json").json, tree_of(house.home / "pool").keys())
    (merged,) = house.files("op:op-dry.all")
    for words in (
        ("priority", "op-dry", 4),
        ("cancel", "op-dry", "--why", "x", "--withdraw"),
        ("invalidate", merged["name"], "--why", "x"),
        ("dataset", "close", "op:op-dry.input"),
    ):
        house(*words, "--dry-run")
    assert (house("status", "op-dry", "--json").json, tree_of(house.home / "pool").keys()) == before


def test_a_production_over_outputs_takes_those_that_come_instead(house: House, raw: list[Path]) -> None:
    house.run(Production(name="op-first", input=list(raw), scope="op"))
    second = Production(name="op-second", input="op:op-first.all", scope="op")
    house.run(second)
    (merged,) = house.files("op:op-first.all")
    house("invalidate", merged["name"], "--why", "odd", "--yes")
    assert house.watch("op-first")["state"] == "complete"
    facts = house.watch("op-second")
    assert facts["state"] == "stalled"
    assert "odd; when it is made again, run this production's script again" in " ".join(facts["reasons"])
    house.run(second)
    facts = house.watch("op-second")
    assert (facts["state"], facts["files_in"], facts["events_in"]) == ("complete", 1, 800)
    assert sorted(identities(house.paths("op:op-second.all"))) == sorted(identities(raw))
    assert "verdict: the books close" in house("audit", "op-second", "--deep").out


def test_a_paused_production_stays_so_when_its_dataset_grows(
    house: House, tmp_path: Path, raw: list[Path]
) -> None:
    late = [one.rename(tmp_path / f"late_{one.name}") for one in raw[:2]]
    house("declare", "op:late", late[0])
    gate = tmp_path / "gate"
    text = GATED.format(gate=str(gate), name="op-late", inputs="op:late")
    script = house.scripted(tmp_path / "script", text)
    house.submit(*script)
    house("pause", "op-late", "--why", "night")
    house("declare", "op:late", late[1])
    house.submit(*script)
    assert (seen(house, "op-late")["state"], seen(house, "op-late")["reasons"]) == ("paused", ["night"])
    gate.touch()
    house("resume", "op-late")
    assert house.watch("op-late")["events_in"] == 400
