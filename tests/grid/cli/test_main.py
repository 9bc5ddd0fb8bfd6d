"""The command itself: version, help, completion, exit codes, and errors that people can read."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from grid.cli.exit_codes import EXIT_CODES, INTERRUPTED
from sitecfg import errors
from tests.grid.house import House, grid, until

COMMAND = Path(sys.executable).with_name("grid")
#: Verbs that need nothing but a home.
READING = ("status", "ls", "audit", "log", "trigger list", "config show", "doctor")


def test_version() -> None:
    from importlib.metadata import version

    assert grid("--version").out == f"grid {version('mdcgrid')}\n"


def test_help_documents_every_exit_code() -> None:
    words = " ".join(grid("--help").out.split())
    for code, meaning in EXIT_CODES.items():
        assert f"{code} {meaning}" in words


def test_every_error_has_a_documented_exit_code() -> None:
    kinds = [getattr(errors, name) for name in errors.__all__]
    assert {kind.exit_code for kind in kinds} <= set(EXIT_CODES)


def test_every_verb_has_help_and_says_what_is_dry() -> None:
    import click

    from grid.cli.main import app

    verbs: list[tuple[str, click.Command]] = []
    for name, verb in app.commands.items():
        if isinstance(verb, click.Group):
            verbs += [(f"{name} {under}", inner) for under, inner in verb.commands.items()]
        else:
            verbs.append((name, verb))
    reading = {"verify", "status", "log", "audit", "ls", "doctor", "config show", "catalog check"} | {
        f"trigger {name}" for name in ("list", "show", "diff", "check")
    }
    changing = {
        "split",
        "merge",
        "run",
        "declare",
        "retry",
        "get",
        "links",
        "init",
        "up",
        "down",
        "trigger import",
        "pause",
        "resume",
        "priority",
        "cancel",
        "invalidate",
        "dataset open",
        "dataset close",
        "catalog backup",
        "catalog restore",
        "catalog reconcile",
    }
    seen = set()
    for name, verb in verbs:
        seen.add(name)
        assert verb.help, f"{name} has no help"
        options = {option for parameter in verb.params for option in parameter.opts}
        assert ("--json" in options) or name not in reading, name
        assert ("--dry-run" in options) or name not in changing, name
    assert reading | changing | {"trigger from-file"} == seen


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", f"/bin/{shell}")
    monkeypatch.setenv("HOME", str(tmp_path))
    script = grid("--show-completion").out
    assert f"_GRID_COMPLETE={shell}_complete" in script
    for _ in range(2):
        assert str(tmp_path) in grid("--install-completion").out
    (file,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert file.read_text().count(f"_GRID_COMPLETE={shell}_source grid") == 1


def test_completion_in_a_shell_that_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHELL", "/bin/csh")
    assert "csh" in grid("--show-completion", code=2).err


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("grid ver", "plain,verify"),
        ("grid catalog ba", "plain,backup"),
        ("grid merge --dup", "plain,--duplicates"),
        ("grid merge out.root in", "file,in"),
    ],
)
def test_completion_completes(words: str, completed: str) -> None:
    number = str(len(words.split()) - 1)
    done = subprocess.run(
        [COMMAND],
        env={**os.environ, "_GRID_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": number},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [completed]


@pytest.mark.parametrize("words", [(), ("trigger",)])
def test_no_verb(words: tuple[str, ...]) -> None:
    assert "Usage" in grid(*words, code=2).err


def test_a_typo_in_a_verb_or_an_option() -> None:
    assert "verify" in grid("verfy", code=2).err
    assert "--jsn" in grid("status", "--jsn", code=2).err
    assert "Missing" in grid("merge", code=2).err


@pytest.mark.parametrize("verb", READING[:5])
def test_a_home_that_is_not_there_is_not_made(tmp_path: Path, verb: str) -> None:
    house = House(tmp_path / "none")
    answer = house(*verb.split(), code=None)
    assert answer.code in (0, 2, 7)
    if answer.code:
        assert "grid init" in answer.err
    assert not house.home.exists()


def test_settings_with_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text('[workers]\nnumber = "many"\nslotts = 2\n[lease]\nseconds = "ten"\n')
    answer = House(tmp_path)("status", code=2)
    for word in ("workers.number", "workers.slotts", "lease.seconds", "grid.toml"):
        assert word in answer.err


def test_a_setting_that_is_not_there_is_told_with_near_ones(tmp_path: Path) -> None:
    assert "workers.slots" in House(tmp_path)("config", "show", "worker.slots", code=2).err


def test_an_error_is_an_object_for_machines(tmp_path: Path) -> None:
    said = House(tmp_path)("trigger", "check", "none.toml", "x.root", "--json", code=2)
    assert said.out == ""
    error = json.loads(said.err)
    assert (error["error"], error["where"], error["failure"]) == ("TriggerTableError", "none.toml", "config")
    assert set(error) == {"error", "failure", "what", "where", "todo", "facts"}


def test_what_would_be_done_is_told_to_machines_too(tmp_path: Path, paths: list[Path]) -> None:
    house = House(tmp_path / "home")
    (one,) = house("declare", "cdf:raw", paths[0], "--dry-run", "--json").json
    assert one == {"name": f"cdf:{paths[0].name}", "url": paths[0].as_uri()}
    assert house("up", "--dry-run", "--json").json["workers"] == 2
    split = house("split", paths[0], "--out", tmp_path, "--dry-run", "--json").json
    assert [one["stream"] for one in split] == ["all"]
    assert not house.home.exists()


def test_a_site_file_that_is_not_there(tmp_path: Path) -> None:
    answer = grid("--home", tmp_path, "--site", tmp_path / "none.toml", "config", "show", code=2)
    assert "none.toml" in answer.err


def test_a_catalog_of_another_revision_says_how_to_mend_it(tmp_path: Path) -> None:
    import sqlite3

    house = House(tmp_path / "home")
    house("init")
    with sqlite3.connect(house.home / "catalog.sqlite") as db:
        db.execute("update alembic_version set version_num = 'ffff'")
    db.close()
    answer = house("status", code=7)
    assert "ffff" in answer.err


def test_home_by_variable_and_by_default(tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if not name.startswith("MDCGRID_")}

    def origin(*words: str, **more: str) -> str:
        done = subprocess.run(
            [COMMAND, *words, "config", "show", "pool.path", "--json"],
            env={**env, **more},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
        return str(json.loads(done.stdout)["pool.path"]["value"])

    assert origin() == str(tmp_path / "grid-data" / "pool")
    assert origin(MDCGRID_HOME="here") == str(tmp_path / "here" / "pool")
    assert origin("--home", "there", MDCGRID_HOME="here") == str(tmp_path / "there" / "pool")


def test_a_reader_that_goes_away_is_no_error(paths: list[Path]) -> None:
    done = subprocess.run(
        f"{COMMAND} config show --describe --json | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "{\n"
    assert done.stderr == ""


def test_an_interrupt_has_its_exit_code_and_leaves_nothing(tmp_path: Path, paths: list[Path]) -> None:
    child = subprocess.Popen(
        [COMMAND, "merge", tmp_path / "out.root", *(paths * 200)], stderr=subprocess.PIPE, text=True
    )
    until(lambda: any(tmp_path.iterdir()))
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == INTERRUPTED, err
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


#: Interrupts itself in a destructor, from which no exception comes out, and then waits for one.
DESTRUCTOR = """
import os, signal, threading
from grid.cli import main

class Late:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(1000))

def verb(**options):
    late = Late()
    del late
    threading.Event().wait(30)

main.app = verb
main.main()
"""


def test_an_interrupt_during_a_destructor_is_not_lost() -> None:
    done = subprocess.run([sys.executable, "-c", DESTRUCTOR], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (INTERRUPTED, "")
