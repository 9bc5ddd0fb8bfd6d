"""Inputs that crash, hang or burst their reader, and code that does so: a clear end each, and the rest is done."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from unittest import mock

import psutil
import pytest

from grid import Command, Production
from grid.farm.session import attach
from grid.mock.sample import make_sample
from tests.grid.house import SETTINGS, House, identities, until
from tests.grid.spoiled import bomb
from tests.grid.test_bad_inputs import Seen, attempts_on

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.farm, pytest.mark.slow]

#: Every Python of the farm loads this first: a library that can't stand files of certain names.
WEAK_LIBRARY = """
import ctypes, os, sys

def weak(event, words):
    if event != "open" or "MDCGRID_PAYLOAD" not in os.environ:
        return
    name = os.path.basename(os.fsdecode(words[0])) if isinstance(words[0], (str, bytes)) else ""
    if name.startswith("reader-crashes"):
        ctypes.string_at(0)
    elif name.startswith("reader-aborts"):
        os.abort()
    elif name.startswith("reader-hangs"):
        ctypes.PyDLL(None).pause()
    elif name.startswith("reader-leaves"):
        os._exit(0)

sys.addaudithook(weak)
"""

#: Class of the failure, a word of the reason, and the state of the file afterwards.
INPUTS = {
    "reader-crashes": ("payload", "SIGSEGV", "closed"),
    "reader-aborts": ("payload", "SIGABRT", "closed"),
    "reader-hangs": ("stalled", "no progress", "closed"),
    "reader-leaves": ("payload", "exit code 0 and without a result", "closed"),
    "bursts": ("oom", "a slot has 600 MB", "closed"),
}

CODE = """
import ctypes, os, signal, subprocess, sys, time
from grid import Production

INPUT = {inputs!r}

def path_of(events):
    return INPUT[int(events.run[0]) - 300001]

def fine(events):
    return events

def loops(events):
    while True:
        pass

def waits_in_c(events):
    ctypes.PyDLL(None).pause()

def sleeps(events):
    time.sleep(7531)

def eats_slowly(events):
    hoard = []
    while True:
        hoard.append(bytearray(os.urandom(4096)) * 2000)
        time.sleep(0.01)

def appends_to_its_input(events):
    with open(path_of(events), "ab") as file:
        file.write(b"mine")
    return events

def writes_over_its_input(events):
    with open(path_of(events), "r+b") as file:
        file.seek(-200, 2)
        file.write(bytes(100))
    return events

def cuts_its_input(events):
    os.truncate(path_of(events), 3000)
    return events

def deletes_its_input(events):
    os.remove(path_of(events))
    return events

def forks_and_both_return(events):
    os.fork()
    return events

def leaves_children(events):
    for new in (True, False):
        subprocess.Popen(["sleep", "7531"], start_new_session=new)
    return events

def floods_its_output(events):
    for turn in range(2000):
        os.write(1, b"\\x00\\xff" * 50_000)
    return events

def interrupts(events):
    raise KeyboardInterrupt

def aborts(events):
    os.abort()

def closes_everything(events):
    os.closerange(3, 4096)
    return events

def changes_the_world(events):
    open("left", "w").close()
    os.mkdir("shut", 0)
    os.chdir("/")
    os.umask(0o777)
    os.environ.clear()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.setrecursionlimit(200)
    sys.stdout = None
    return events

ACTIONS = {actions!r}

def act(events, conditions):
    return globals()[ACTIONS[int(events.run[0]) - 300001]](events) if len(events) else events

p = Production(name="poison", input="poison:raw", process=act, scope="poison")
"""

#: What the user's code does in one file each: class of the failure, a word of the reason, state of the file.
ACTIONS: dict[str, tuple[str, str, str]] = {
    "fine": ("", "", "on_disk"),
    "loops": ("stalled", "no progress", "on_disk"),
    "waits_in_c": ("stalled", "no progress", "on_disk"),
    "sleeps": ("stalled", "no progress", "on_disk"),
    "eats_slowly": ("oom", "a slot has 600 MB", "on_disk"),
    "appends_to_its_input": ("corrupt", "catalog has", "bad"),
    "writes_over_its_input": ("corrupt", "catalog has", "bad"),
    "cuts_its_input": ("corrupt", "catalog has", "bad"),
    "deletes_its_input": ("missing", "no such file", "on_disk"),
    "forks_and_both_return": ("", "", "on_disk"),
    "leaves_children": ("", "", "on_disk"),
    "floods_its_output": ("", "", "on_disk"),
    "interrupts": ("payload", "KeyboardInterrupt", "on_disk"),
    "aborts": ("payload", "SIGABRT", "on_disk"),
    "closes_everything": ("payload", "", "on_disk"),
    "changes_the_world": ("", "", "on_disk"),
}


PROGRAM = """
case $(basename "$1" .root) in
    copies) cp "$1" "$2" ;;
    hangs) trap '' TERM INT HUP; cp "$1" "$2"; sleep 7531 & wait ;;
    fails) echo "no constants" >&2; exit 3 ;;
    dies) kill -SEGV $$ ;;
    makes-nothing) setsid sleep 7531 & ;;
    makes-half) head -c 3000 "$1" > "$2" ;;
    makes-much) cp "$1" "$2"; cp "$1" more.root; mkdir -p a/b; ln -s "$1" a/b/c ;;
    shouts) head -c 40000000 /dev/zero >&2; cp "$1" "$2"; exit 1 ;;
    links) ln -s "$1" "$2" ;;
    writes) printf x >> "$1"; cp "$1" "$2" ;;
    removes) mv "$1" "$2" ;;
esac
"""

PROGRAMS: dict[str, tuple[str, str, str]] = {
    "copies": ("", "", "on_disk"),
    "hangs": ("stalled", "no progress", "on_disk"),
    "fails": ("payload", "exit code 3", "on_disk"),
    "dies": ("payload", "SIGSEGV", "on_disk"),
    "makes-nothing": ("payload", "made no file", "on_disk"),
    "makes-half": ("payload", "can't be used: it should have", "on_disk"),
    "makes-much": ("", "", "on_disk"),
    "shouts": ("payload", "exit code 1", "on_disk"),
    "links": ("", "", "on_disk"),
    "writes": ("corrupt", "catalog has", "bad"),
    "removes": ("missing", "no such file", "on_disk"),
}


@pytest.fixture(scope="module")
def weak_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A farm of little patience and little memory, whose Pythons can't stand some files."""
    folder = tmp_path_factory.mktemp("weak")
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(WEAK_LIBRARY)
    home = folder / "home"
    home.mkdir()
    settings = SETTINGS.replace('memory = "1 GB"', 'memory = "600 MB"\nquiet_time = "5 s"')
    (home / "grid.toml").write_text(f"{settings}\n[retry.stalled]\nretries = 0\n")
    with mock.patch.dict(os.environ, PYTHONPATH=str(folder / "site")), attach(home, need="farm"):
        yield House(home)


def test_inputs_that_break_their_readers(weak_house: House, tmp_path: Path) -> None:
    made = make_sample(tmp_path / "raw", files=len(INPUTS) + 1, events=60, seed=8)
    paths = [
        one.path.rename(one.path.with_name(f"{name}.root"))
        for name, one in zip([*INPUTS, "fine"], made, strict=True)
    ]
    bomb(tmp_path / "raw" / "bursts.root")
    weak_house("declare", "weak:raw", *paths, code=5)
    facts = weak_house.run(Production(name="inputs", input="weak:raw", scope="weak"))
    assert facts["state"] == "stalled"
    assert len(facts["held"]) == len(INPUTS)
    found = attempts_on(weak_house, "weak:raw", "intake")
    _compare(found, INPUTS)
    assert identities(weak_house.paths("weak:inputs.all")) == identities(paths[-1:])
    _nothing_is_left(weak_house)


def test_code_that_breaks_its_process_or_its_input(weak_house: House, tmp_path: Path) -> None:
    made = make_sample(tmp_path / "raw", files=len(ACTIONS), events=60, seed=9)
    paths = [
        one.path.rename(one.path.with_name(f"{name}.root")) for name, one in zip(ACTIONS, made, strict=True)
    ]
    good = {
        name: path.read_bytes() for name, path in zip(ACTIONS, paths, strict=True) if not ACTIONS[name][0]
    }
    weak_house("declare", "poison:raw", *paths)
    text = CODE.format(inputs=[str(path) for path in paths], actions=[*ACTIONS])
    (production,) = weak_house.scripted(tmp_path, text)
    facts = weak_house.run(production)
    assert facts["state"] == "stalled"
    found = attempts_on(weak_house, "poison:raw", "process")
    _compare(found, ACTIONS)
    done = [path for name, path in zip(ACTIONS, paths, strict=True) if name in good]
    assert sorted(identities(weak_house.paths("poison:poison.all"))) == sorted(identities(done))
    assert {path.stem: path.read_bytes() for path in done} == good
    assert weak_house("audit", "poison", "--json", code=None).json["findings"] == []
    _nothing_is_left(weak_house)


def test_programs_that_break(weak_house: House, tmp_path: Path) -> None:
    made = make_sample(tmp_path / "odd 'raw'", files=len(PROGRAMS), events=60, seed=10)
    paths = [
        one.path.rename(one.path.with_name(f"{name}.root")) for name, one in zip(PROGRAMS, made, strict=True)
    ]
    script = tmp_path / "reco.sh"
    script.write_text(PROGRAM)
    weak_house("declare", "programs:raw", *paths)
    command = Command(f"sh '{script}' {{input}} {{output}}")
    facts = weak_house.run(
        Production(name="programs", input="programs:raw", process=command, scope="programs")
    )
    assert facts["state"] == "stalled"
    _compare(attempts_on(weak_house, "programs:raw", "process"), PROGRAMS)
    done = [path for path in paths if not PROGRAMS[path.stem][0]]
    assert sorted(identities(weak_house.paths("programs:programs.all"))) == sorted(identities(done))
    assert weak_house("audit", "programs", "--json", code=None).json["findings"] == []
    _nothing_is_left(weak_house)


def _compare(found: dict[str, Seen], wanted: dict[str, tuple[str, str, str]]) -> None:
    wrong = {}
    for name, (failure, said, state) in wanted.items():
        seen = found[f"{name}.root"]
        if (seen.job.failure or "", seen.state) != (failure, state) or said not in str(seen.job.why):
            wrong[name] = (seen.state, seen.job.state, seen.job.failure, seen.job.why)
        assert seen.job.state == ("held" if failure else "done")
        assert not failure or name in str(seen.job.why), "the file is named"
    assert not wrong


def _nothing_is_left(house: House) -> None:
    """No process of the user's, and no file of an attempt."""
    until(
        lambda: not [one for one in psutil.process_iter(["cmdline"]) if "7531" in (one.info["cmdline"] or [])]
    )
    until(lambda: not list((house.home / "scratch").glob("[0-9]*.*")))
