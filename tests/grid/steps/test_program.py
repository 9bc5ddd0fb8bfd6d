"""An external program under the same checks as a function: it may drop, reorder and compute, and nothing else."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uproot

from grid import Command, Production
from grid.steps.program import run_program
from sitecfg.errors import UsageError, UserCodeError
from tests.grid.house import expected_streams, fired, identities, record
from tests.grid.steps.conftest import STREAMS, TABLE

if TYPE_CHECKING:
    from tests.grid.steps.bench import Bench

#: A program that knows nothing of us: it reads a few columns with uproot, does something, and writes with uproot.
PROGRAM = """
import sys
import numpy as np
import uproot

source, target = sys.argv[1:3]
with uproot.open(source) as file:
    names = ["run", "luminosityBlock", "event", "MET_pt"]
    events = {name: file["Events"][name].array(library="np") for name in names}
n = len(events["run"])
rows = np.arange(n)
CHANGE
with uproot.recreate(target) as out:
    columns = {**{name: column[rows] for name, column in events.items()}, "twice": 2 * events["MET_pt"][rows]}
    out.mktree("Events", {name: column.dtype for name, column in columns.items()}).extend(columns)
print("reconstructed", len(rows), "events")
"""


def program(folder: Path, change: str) -> Command:
    script = folder / "reco.py"
    script.write_text(PROGRAM.replace("CHANGE", change))
    return Command(f"{sys.executable} '{script}' {{input}} {{output}}")


def task_of(bench: Bench, command: Command, inputs: list[Path], **more: Any) -> Any:
    production = Production(name="ext", input=inputs[:1], process=command, split=TABLE, scope="cdf", **more)
    bench.submit(production)
    bench.drain(["intake"])
    return bench.next("process")


def outputs(result: dict[str, Any]) -> dict[str, Path]:
    return {one["stream"]: Path(one["url"].removeprefix("file://")) for one in result["outputs"]}


def test_events_that_come_back_in_any_order_go_to_the_streams_of_the_input(
    bench: Bench, tmp_path: Path, inputs: list[Path]
) -> None:
    task = task_of(bench, program(tmp_path, "rows = rows[rows % 3 != 0][::-1]"), inputs)
    result = task.run()
    kept = {one for i, one in enumerate(identities(inputs[:1])) if i % 3}
    sets, _, _ = expected_streams(inputs[:1], STREAMS)
    for stream, path in outputs(result).items():
        found = identities([path])
        assert len(found) == len(set(found))
        assert set(found) == sets[stream] & kept, "by the input's trigger bits, which the program left out"
        with uproot.open(path) as file:
            columns = file["Events"].arrays(["MET_pt", "twice"], library="np")
            assert (columns["twice"] == 2 * columns["MET_pt"]).all()
            assert "HLT_Mu17_v3" not in file["Events"]
        assert "{input}" in record(path)["command"]
    assert result["dropped"]["events"] == 300 - len(kept)
    assert sum(book["events"] for book in result["books"]) == len(kept)
    assert bench.commit(task, result) == "done"


def test_a_program_that_copies_changes_nothing(bench: Bench, inputs: list[Path]) -> None:
    result = task_of(bench, Command("cp {input} {output}"), inputs).run()
    sets, _, overlap = expected_streams(inputs[:1], STREAMS)
    assert result["overlap"] == overlap
    assert result["dropped"]["events"] == 0
    for stream, path in outputs(result).items():
        assert set(identities([path])) == sets[stream]
        assert fired([path], STREAMS[stream]).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("rows = np.append(rows, 7)", "repeated 1 events"),
        ("events['event'][5] += 10**6", "invented or re-keyed 1 events"),
        ("events['run'][:2] = 5", "invented or re-keyed 2 events"),
        ("del events['event']", "identify"),
        ("sys.exit(3)", "exit code 3"),
        ("sys.exit(0)", "made no file"),
        ("import os; os.kill(os.getpid(), 11)", "SIGSEGV"),
        ("open(source, 'ab').close(); import os; os.utime(source, (1, 1))", "wrote to its input"),
        ("import no_such_module", "exit code 1"),
    ],
)
def test_a_program_that_breaks_a_rule_is_told_so(
    bench: Bench, tmp_path: Path, inputs: list[Path], change: str, said: str
) -> None:
    task = task_of(bench, program(tmp_path, change), inputs)
    with pytest.raises(UserCodeError, match=said):
        task.run()
    assert bench.pool() == []


def test_a_path_may_hold_what_stands_for_another(tmp_path: Path) -> None:
    source, target = tmp_path / "{output}.root", tmp_path / "out.root"
    source.write_bytes(b"what it reads")
    run_program(("cp", "{input}", "{output}"), source, target, progress=lambda _done, _total: None)
    assert target.read_bytes() == b"what it reads"


def test_a_file_that_is_none_is_refused(bench: Bench, inputs: list[Path]) -> None:
    task = task_of(bench, Command("sh -c 'echo hello > \"$1\"' reco {output} {input}"), inputs)
    with pytest.raises(UserCodeError, match=r"output\.root.*ROOT"):
        task.run()
    assert bench.pool() == []


def test_a_program_that_is_not_here(bench: Bench, inputs: list[Path]) -> None:
    task = task_of(bench, Command("no-such-reco {input} {output}"), inputs)
    with pytest.raises(UserCodeError, match="not on this machine"):
        task.run()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("kill -40 $$", r"killed by SIGRTMIN\+6"),
        ('rm "$1"', "wrote to its input, or removed it"),
        ('cp "$1" copy; mv copy "$1"', "wrote to its input"),
        ('mkdir "$2"', "made no file"),
        ('mkfifo "$2"', "made no file"),
        ('ln -s "$2" "$2"', "made no file"),
        ('ln -s /dev/zero "$2"', "made no file"),
    ],
)
def test_what_a_program_leaves_that_is_no_file_is_told_so(tmp_path: Path, line: str, said: str) -> None:
    source, target = tmp_path / "a 'b' \"c\".root", tmp_path / "out.root"
    source.write_bytes(b"what it reads")
    words = ("sh", "-c", f"cd '{tmp_path}'; {line}", "reco", "{input}", "{output}")
    with pytest.raises(UserCodeError, match=said) as caught:
        run_program(words, source, target, progress=lambda _done, _total: None)
    assert "{input}" not in caught.value.where


@pytest.mark.parametrize(
    ("size", "said"), [(0, "it is empty"), (50, "a header alone"), (3000, "should have")]
)
def test_a_file_that_a_program_left_unfinished(
    bench: Bench, inputs: list[Path], size: int, said: str
) -> None:
    task = task_of(bench, Command(f'sh -c \'head -c {size} "$1" > "$2"\' reco {{input}} {{output}}'), inputs)
    with pytest.raises(UserCodeError, match=f"can't be used: .*{said}") as caught:
        task.run()
    assert caught.value.where == f"{inputs[0]}: output.root", (
        "the scratch folder is gone when somebody reads this"
    )
    assert bench.pool() == []


def test_a_program_that_this_machine_can_not_run(tmp_path: Path) -> None:
    broken = tmp_path / "reco"
    broken.write_bytes(b"neither a binary nor a script")
    broken.chmod(0o755)
    with pytest.raises(UserCodeError, match=r"can't be started: .*Exec format error"):
        run_program((str(broken),), broken, tmp_path / "out", progress=lambda _done, _total: None)


def test_the_constants_are_a_file_for_a_program(bench: Bench, tmp_path: Path, inputs: list[Path]) -> None:
    constants = tmp_path / "constants.toml"
    constants.write_text("cut = 20\n")
    line = 'sh -c \'grep -q "cut = 20" "$3" && cp "$1" "$2"\' reco {input} {output} {conditions}'
    assert task_of(bench, Command(line), inputs, conditions=constants).run()["dropped"]["events"] == 0


@pytest.mark.parametrize(
    "line", ["", "reco {input}", "reco {output}", "{input} {output}", "reco '{input} {output}"]
)
def test_command_lines_that_cannot_run(line: str) -> None:
    with pytest.raises(UsageError):
        Command(line)


def test_events_without_identity_are_refused_before_anything_runs(bench: Bench, inputs: list[Path]) -> None:
    with pytest.raises(UsageError, match="identify"):
        bench.submit(
            Production(name="x", input=inputs[:1], process=Command("cp {input} {output}"), identity="entry")
        )


def test_a_recipe_without_a_program_is_what_it_was_before_there_were_programs() -> None:
    from grid.steps.recipe import Recipe

    assert "command" not in Recipe("a:b").to_json()
    assert Recipe.from_json(Recipe("a:b").to_json()) == Recipe("a:b")
    with_program = Recipe("a:b", command=("reco", "{input}", "{output}"))
    assert Recipe.from_json(with_program.to_json()) == with_program
    assert with_program.hash != Recipe("a:b").hash
