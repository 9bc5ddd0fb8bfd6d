"""`grid declare, run, retry, log` on a farm: what goes in, what is refused, what an operator does about it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from grid.production import Submitted, connect
from tests.grid.house import House, flip, identities, tree_of, until

if TYPE_CHECKING:
    from pathlib import Path

    from grid.mock.sample import SampleFile

pytestmark = pytest.mark.farm


def rot(path: Path) -> bytes:
    """Cut a file short; returns what it was."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return whole


def test_declare(house: House, sample: list[SampleFile]) -> None:
    folder = sample[0].path.parent
    answer = house("declare", "cli:declared", folder / "*.root", "--json").json
    assert (answer["new"], answer["known"]) == (3, 0)
    assert [one["state"] for one in answer["files"]] == ["on_disk"] * 3
    assert [one["events"] for one in answer["files"]] == [400, 400, 400]
    assert answer["files"][0]["urls"] == [sample[0].path.as_uri()]
    again = house("declare", "cli:declared", *(one.path for one in sample)).out
    assert "0 files declared, 3 were known" in again
    assert house.files("cli:declared") == answer["files"]


def test_declare_dry(house: House, paths: list[Path]) -> None:
    assert "cli:sample_0000.root" in house("declare", "cli:dry", *paths, "--dry-run").out
    assert "cli:dry" in house("ls", "cli:dry", code=2).err


def test_declare_bad_and_good(house: House, tmp_path: Path, paths: list[Path]) -> None:
    shutil.copy(paths[0], tmp_path / "good.root")
    (tmp_path / "bad.root").write_text("hello")
    (tmp_path / "cut.root").write_bytes(paths[1].read_bytes()[:5000])
    answer = house("declare", "cli:mixed", tmp_path / "*.root", "--json", code=3).json
    states = {one["name"]: one["state"] for one in answer["files"]}
    assert states == {"cli:bad.root": "bad", "cli:cut.root": "bad", "cli:good.root": "on_disk"}
    why = {one["name"]: one["why"] for one in answer["files"]}
    assert "ROOT" in why["cli:bad.root"]
    out = house("declare", "cli:mixed", tmp_path / "*.root", code=3).out
    assert "bad" in out
    house("get", "cli:bad.root", tmp_path / "out", code=3)


def test_declare_refuses(house: House, tmp_path: Path, paths: list[Path]) -> None:
    assert "none.root" in house("declare", "cli:refused", tmp_path / "none.root", code=3).err
    assert "scope:name" in house("declare", "refused", paths[0], code=2).err
    house("declare", "cli:a/b", paths[0], code=2)
    house("declare", "cli:refused", code=2)
    assert "cli:refused" in house("ls", "cli:refused", code=2).err


def test_one_name_for_another_file(house: House, tmp_path: Path, paths: list[Path]) -> None:
    for name, path in zip("ab", paths, strict=False):
        (tmp_path / name).mkdir()
        shutil.copy(path, tmp_path / name / "raw.root")
    house("declare", "cli:raw", tmp_path / "a" / "raw.root")
    answer = house("declare", "cli:raw", tmp_path / "b" / "raw.root", code=8)
    assert "raw.root" in answer.err


def test_declare_without_waiting(house: House, tmp_path: Path, paths: list[Path]) -> None:
    shutil.copy(paths[0], tmp_path / "later.root")
    answer = house("declare", "cli:later", tmp_path / "later.root", "--no-wait", "--json").json
    assert answer == {"dataset": "cli:later", "new": 1, "known": 0}


def test_declare_without_identity(house: House, real_data: Path) -> None:
    (one,) = house("declare", "cli:tuple", real_data / "Tuple_1.root", "--json", code=5).json["files"]
    assert one["events"] is None
    assert "identify an event" in one["why"]
    assert (
        "held     cli:Tuple_1.root" in house("declare", "cli:tuple", real_data / "Tuple_1.root", code=5).out
    )
    words = ("--identity", "entry", "--tree", "tuple/DecayTree", "--json")
    (one,) = house("declare", "cli:entries", real_data / "Tuple_2.root", *words).json["files"]
    assert (one["state"], one["events"]) == ("on_disk", 39)


SCRIPT = """
from grid import Production
production = Production(name={name!r}, input={inputs!r}, scope="cli")
"""


def script(folder: Path, name: str, *inputs: Path, text: str = SCRIPT) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text.format(name=name, inputs=[str(one) for one in inputs]))
    return path


def test_run_and_run_again(house: House, tmp_path: Path, paths: list[Path]) -> None:
    path = script(tmp_path, "cli-run", *paths)
    first = house("run", path, "--json")
    assert "cli-run: submitted" in first.err
    (facts,) = first.json
    assert facts["state"] == "complete"
    assert facts["events_in"] == 1200
    (stream,) = facts["streams"]
    assert (stream["dataset"], stream["events"], stream["files"]) == ("cli:cli-run.all", 1200, 1)
    assert identities(house.paths("cli:cli-run.all")) == identities(paths)
    again = house("run", path)
    assert "cli-run: known: going on" in again.err
    assert again.out.startswith("production cli-run: complete")
    assert house("run", path, "--json").json == [facts]


def test_run_dry(house: House, tmp_path: Path, paths: list[Path]) -> None:
    path = script(tmp_path, "cli-dry", *paths)
    before = tree_of(tmp_path)
    (body,) = house("run", path, "--dry-run", "--json").json
    assert body["name"] == "cli-dry"
    assert [one["url"] for one in body["files"]] == [one.as_uri() for one in paths]
    assert "cli-dry: would be submitted" in house("run", path, "--dry-run").out
    assert "cli-dry" in house("status", "cli-dry", code=2).err
    assert {name for name in tree_of(tmp_path) if "__pycache__" not in name} == set(before)


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("x = 1", 2, "Production"),
        ("def", 5, "SyntaxError"),
        ("import nothing_of_this_name", 5, "nothing_of_this_name"),
        ("raise RuntimeError('thunder')", 5, "thunder"),
        ("from grid import Production\np = Production(name='a/b', input='x.root')", 2, "a/b"),
        ("from grid import Production\np = Production(name='a', input='none.root')", 3, "none.root"),
        ("from grid import Production\np = Production(name='a', input=[])", 2, "input"),
        ("from grid import Production\np = Production(name='a', input='cli:nothing')", 2, "cli:nothing"),
        (
            "from grid import Production\np = Production(name='a', input={inputs!r}, split='NONE/1')",
            2,
            "NONE/1",
        ),
        (
            "from grid import Production\np = Production(name='a', input={inputs!r}, split='NONE')",
            2,
            "NAME/TAG",
        ),
        (
            "from grid import Production\np = Production(name='a', input={inputs!r}, merge='1 parsec')",
            2,
            "parsec",
        ),
        ("from grid import Production\np = Production(name='a', input={inputs!r}, format='csv')", 2, "csv"),
        (
            "from grid import Production\np = Production(name='a', input={inputs!r}, on_refused='x')",
            2,
            "on_refused",
        ),
        (
            "from grid import Production\np = Production(name='a', input={inputs!r}, compression='zip:1')",
            2,
            "zip:1",
        ),
        ("from grid import Production\np = Production(name='a', input={inputs!r}, keep=['kep *'])", 2, "kep"),
        (
            "from grid import Production\np = Production(name='a', input={inputs!r}, conditions='no.toml')",
            3,
            "no.toml",
        ),
        (
            "from grid import Production\np = Production(name='a', input={inputs!r}, process=lambda e, c: e)",
            2,
            "top level",
        ),
        (
            "from grid import Production\ndef f():\n    def g(e, c): return e\n    return g\n"
            "p = Production(name='a', input={inputs!r}, process=f())",
            2,
            "top level",
        ),
        (
            "from grid import Production\nimport os.path\n"
            "p = Production(name='a', input={inputs!r}, process=print)",
            2,
            "top level",
        ),
    ],
)
def test_scripts_that_are_wrong(
    house: House, tmp_path: Path, paths: list[Path], text: str, code: int, word: str
) -> None:
    answer = house("run", script(tmp_path, "wrong", *paths, text=text), code=code)
    assert word in answer.err
    assert "there is no such production" in house("status", "a", code=2).err


def test_a_script_that_is_not_there(house: House, tmp_path: Path) -> None:
    assert "none.py" in house("run", tmp_path / "none.py", code=2).err
    (tmp_path / "text.txt").write_text("from grid import Production")
    assert house("run", tmp_path / "text.txt", code=None).code in (2, 5)


def test_another_recipe_under_the_same_name(house: House, tmp_path: Path, paths: list[Path]) -> None:
    text = (
        "from grid import Production\np = Production(name={name!r}, input={inputs!r}, scope='cli', keep=%r)\n"
    )
    house("run", script(tmp_path, "cli-changed", paths[0], text=text % (["keep *"],)))
    other = script(tmp_path, "cli-changed", paths[0], text=text % (["keep *", "drop Jet_*"],))
    answer = house("run", other, code=2)
    assert answer.err.startswith("cli-changed") or "RecipeChanged" in answer.err
    assert "keep: ('keep *',) → ('keep *', 'drop Jet_*')" in answer.err


def test_a_corrupt_file_among_good_ones_then_mended(house: House, tmp_path: Path, paths: list[Path]) -> None:
    for path in paths:
        shutil.copy(path, tmp_path / path.name)
    ill = tmp_path / paths[1].name
    whole = rot(ill)
    run = script(tmp_path, "cli-mended", *sorted(tmp_path.glob("*.root")))
    answer = house("run", run, code=5)
    assert "cli-mended: stalled" in answer.out
    assert "retry cli-mended" in answer.out
    assert ill.name in answer.out
    good = [path for path in paths if path.name != ill.name]
    assert identities(house.paths("cli:cli-mended.all")) == identities(good)
    facts = house("status", "cli-mended", "--json").json["report"]
    assert facts["files_bad"] == 1
    dry = house("retry", "cli-mended", "--dry-run", "--json").json
    assert [one["kind"] for one in dry] == ["intake"]
    assert house("retry", "cli-mended", "--dry-run", "--json").json == dry
    out = house("retry", "cli-mended", code=5).out
    assert "stalled" in out, "it is as broken as before"
    ill.write_bytes(whole)
    assert "complete" in house("retry", "cli-mended").out
    found = identities(house.paths("cli:cli-mended.all"))
    assert sorted(found) == sorted(identities(paths))
    assert len(found) == len(set(found))
    assert len(house.files("cli:cli-mended.all")) == 2, "a late input makes another file"
    assert "verdict: the books close" in house("audit", "cli-mended", "--deep").out
    assert house("run", run).out.startswith("production cli-mended: complete")


def test_an_input_that_rots_between_intake_and_processing(
    house: House, tmp_path: Path, paths: list[Path]
) -> None:
    raw = tmp_path / "rots.root"
    shutil.copy(paths[0], raw)
    house("declare", "cli:rots", raw)
    whole = bytearray(raw.read_bytes())
    flip(whole)
    raw.write_bytes(whole)
    text = "from grid import Production\np = Production(name={name!r}, input='cli:rots')\n"
    answer = house("run", script(tmp_path, "cli-rots", text=text), code=5)
    assert "rots.root" in answer.out
    text_of_log = json.dumps(house("status", "cli-rots", "--json").json)
    assert "adler32" in text_of_log
    shutil.copy(paths[0], raw)
    assert "complete" in house("retry", "cli-rots").out
    assert identities(house.paths("cli:cli-rots.all")) == identities(paths[:1])


def test_retry_of_what_is_not_held(house: House, tmp_path: Path, paths: list[Path]) -> None:
    house("run", script(tmp_path, "cli-fine", paths[0]))
    assert "0 jobs are free" in house("retry", "cli-fine").out
    assert house("retry", "cli-fine", "--json").json == {"freed": 0, "state": "complete"}
    assert "cli-fine" in house("retry", "cli-fin", code=2).err
    house("retry", "999999", code=2)
    house("retry", "cli:none.root", code=2)


def test_a_job_and_its_log(house: House, tmp_path: Path, paths: list[Path]) -> None:
    text = (
        "from grid import Production\n"
        "def broken(events, conditions):\n    print('looking at', len(events))\n    return events.no_such_column\n"
        "p = Production(name={name!r}, input={inputs!r}, process=broken)\n"
    )
    answer = house("run", script(tmp_path, "cli-broken", paths[0], text=text), code=5)
    assert "UserCodeError" in answer.out or "no_such_column" in answer.out
    (held,) = house("status", "cli-broken", "--json").json["report"]["held"]
    out = house("log", held["job"]).out
    assert "no_such_column" in out
    assert "looking at 400" in out
    assert "script.py" in out or "cli-broken" in out or "Traceback" in out
    told = house("log", held["job"], "--json").json
    assert told["job"]["state"] == "held"
    assert [one["outcome"] for one in told["attempts"]] == ["failed", "failed"]
    assert {one["failure"] for one in told["attempts"]} == {"payload"}
    assert house("retry", held["job"], "--json", "--no-wait").json["freed"] == 1


KILLS_ITSELF = """
import os
from pathlib import Path
from grid import Production

def dies(events, conditions):
    if not Path({gate!r}).exists():
        os.kill(os.getpid(), 9)
    return events

p = Production(name="killed", input={inputs!r}, process=dies, scope="cli")
"""


def test_a_job_that_is_killed_again_and_again_is_shown_until_it_is_done(
    house: House, tmp_path: Path, paths: list[Path]
) -> None:
    """A kill is no fault of the job and never holds it; so nobody would look if nobody was told."""
    gate = tmp_path / "gate"
    house.submit(*house.scripted(tmp_path, KILLS_ITSELF.format(gate=str(gate), inputs=[str(paths[0])])))
    with connect(house.home) as connection:
        submitted = Submitted(connection.client, "killed", new=False)
        told = until(lambda: [one for one in submitted.progress().reasons if "was started" in one], 60)
        assert "process job" in told[0]
        assert "SIGKILL" in told[0]
        gate.touch()
        until(lambda: submitted.progress().over, 60)
        assert submitted.progress().reasons == ()
