"""The tutorial works as it is written, from its first command to its last."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).resolve().parent.parent / "docs" / "tutorial.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)


@pytest.mark.farm
def test_tutorial_from_the_first_command_to_the_last(tmp_path: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MDCGRID_")}
    env = inherited | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for kind, title, body in BLOCK.findall(TUTORIAL.read_text("utf-8")):
        if title:
            (tmp_path / title).write_text(body, "utf-8")
        elif kind == "sh":
            done = subprocess.run(
                ["bash", "-euxo", "pipefail", "-c", body],
                cwd=tmp_path,
                env=env,
                check=False,
                text=True,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
            assert done.returncode == 0, done.stdout
    assert list((tmp_path / "muons").glob("*.root"))
