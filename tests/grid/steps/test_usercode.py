"""A user's function runs as it was submitted, or is refused with a reason before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grid.steps.usercode import UserCode, describe, load, load_script, store
from sitecfg.errors import UsageError, UserCodeError

SCRIPT = """
def process(events, conditions):
    return events

if __name__ == "__main__":
    raise SystemExit("the guard did not hold")
"""


def top_level(events: object, conditions: object) -> object:
    return events, conditions


def test_a_script_runs_as_it_was_submitted(tmp_path: Path) -> None:
    """Editing the script afterwards changes nothing: workers import the stored copy."""
    script = tmp_path / "mine.py"
    script.write_text(SCRIPT)
    code = describe(load_script(script).process)
    scripts = tmp_path / "scripts"
    assert store(scripts, code.source, ".py") == code.digest
    script.write_text("raise RuntimeError")
    assert load(code, scripts)(1, 2) == 1


def test_storing_twice_is_storing_once(tmp_path: Path) -> None:
    assert store(tmp_path, b"x", ".py") == store(tmp_path, b"x", ".py")
    assert [path.suffix for path in tmp_path.iterdir()] == [".py"]


def test_a_stored_script_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    digest = store(tmp_path, SCRIPT.encode(), ".py")
    (tmp_path / f"{digest}.py").write_text("import os")
    with pytest.raises(UserCodeError, match="changed after it was submitted"):
        load(UserCode("process", digest=digest), tmp_path)


@pytest.mark.parametrize(
    "function",
    [lambda events, _: events, json.JSONDecoder().decode, print],
    ids=["lambda", "method", "builtin"],
)
def test_what_a_worker_can_not_import_is_refused(function: object) -> None:
    with pytest.raises(UsageError, match="top level of a script"):
        describe(function)  # type: ignore[arg-type]


def test_a_closure_is_refused() -> None:
    secret = 3

    def inner(events: int, conditions: object) -> int:
        return events + secret

    with pytest.raises(UsageError, match="top level"):
        describe(inner)


def test_a_function_of_a_file_that_workers_do_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="workers do not have"):
        describe(top_level)


def test_a_function_of_an_installed_module_is_named_by_its_module() -> None:
    import httpx

    code = describe(httpx.get)
    assert (code.module, code.function, code.digest) == ("httpx", "get", "")
    assert load(code, Path()) is httpx.get


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("1/0", "ZeroDivisionError"),
        ("import no_such_module_here", "ModuleNotFoundError"),
        ("def other(): ...", "has no function 'process'"),
        ("process = 3", "has no function"),
        ("def process(:", "SyntaxError"),
    ],
)
def test_a_script_that_can_not_be_imported_says_why(tmp_path: Path, text: str, says: str) -> None:
    digest = store(tmp_path, text.encode(), ".py")
    with pytest.raises(UserCodeError, match=says):
        load(UserCode("process", digest=digest), tmp_path)


def test_a_script_that_is_missing_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserCodeError, match="can't be read"):
        load(UserCode("process", digest="0" * 64), tmp_path)
