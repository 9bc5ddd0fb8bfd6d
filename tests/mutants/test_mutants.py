"""Take each guard away in a copy of the project, and see its test fail."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

HOUSE = Path(__file__).resolve().parents[2]
GUARDS: list[dict[str, Any]] = tomllib.loads(Path(__file__).with_name("guards.toml").read_text("utf-8"))[
    "guard"
]
#: What pytest leaves with when tests failed; anything else says that they could not run.
FAILED = 1


def name(guard: dict[str, Any]) -> str:
    return str(guard["promise"]).rstrip(".")


@pytest.mark.parametrize("guard", GUARDS, ids=name)
def test_each_guard_stands_where_the_list_says(guard: dict[str, Any]) -> None:
    text = (HOUSE / guard["file"]).read_text("utf-8")
    assert text.count(guard["line"]) == 1
    path, _, test = guard["test"].partition("::")
    assert f"def {test}(" in (HOUSE / path).read_text("utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("guard", GUARDS, ids=name)
def test_a_guard_that_is_gone_is_missed(tmp_path: Path, guard: dict[str, Any]) -> None:
    copy = tmp_path / "copy"
    for room in ("catalog", "grid", "kernels", "sitecfg", "tests", "benchmarks"):
        # with what is compiled already: only the file that changes is compiled again
        shutil.copytree(HOUSE / room, copy / room)
    shutil.copy(HOUSE / "pyproject.toml", copy)
    # the copy has no neighbours
    data = os.environ.get("MDCGRID_REAL_DATA", str(HOUSE.parent / "shared" / "data"))
    target = copy / guard["file"]
    target.write_text(target.read_text("utf-8").replace(guard["line"], guard["without"]), "utf-8")
    options = ["-q", "-x", "-p", "no:cacheprovider", "--hypothesis-profile", "first"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, guard["test"]],
        cwd=copy,
        env={
            **os.environ,
            "PYTHONPATH": str(copy),
            "PYTHONDONTWRITEBYTECODE": "1",
            "MDCGRID_REAL_DATA": data,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == FAILED, done.stdout + done.stderr
