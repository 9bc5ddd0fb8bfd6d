"""The doctor's questions, asked in environments that are really broken."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from grid import installation

if TYPE_CHECKING:
    from pathlib import Path

_ASK = """
import json
from grid import installation
from sitecfg.errors import InstallError
try:
    installation.require_own_packages()
except InstallError as error:
    print(json.dumps(error.to_json()))
else:
    print("{}")
"""


def refusal(first_on_the_path: Path) -> Any:
    """What a worker says that starts with a folder first on its path; {} when it would work."""
    env = os.environ | {"PYTHONPATH": str(first_on_the_path)}
    done = subprocess.run(
        [sys.executable, "-c", _ASK],
        check=True,
        capture_output=True,
        text=True,
        env=env,
        cwd=first_on_the_path,
    )
    return json.loads(done.stdout)


def claim(site: Path, distribution: str, package: str) -> None:
    """Install another distribution's record of a top-level package, as pip would leave it."""
    info = site / f"{distribution}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (info / "top_level.txt").write_text(f"{package}\n")


def test_this_installation_is_ours() -> None:
    installation.require_own_packages()


def test_worker_refuses_a_package_that_lies_in_its_folder(tmp_path: Path) -> None:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "__init__.py").touch()
    said = refusal(tmp_path)
    assert said["error"] == "InstallError"
    assert str(tmp_path / "catalog") in said["what"]
    assert said["todo"]


def test_worker_refuses_a_package_that_another_distribution_claims(tmp_path: Path) -> None:
    claim(tmp_path, "rival", "kernels")
    said = refusal(tmp_path)
    assert "kernels is claimed by rival" in said["what"]
    assert "rival" in said["todo"]


def test_worker_does_not_mind_other_packages(tmp_path: Path) -> None:
    claim(tmp_path, "neighbour", "neighbours")
    assert refusal(tmp_path) == {}


def test_doctor_finds_this_machine_fit_and_writes_nothing_to_the_home(tmp_path: Path) -> None:
    home = tmp_path / "not" / "there"
    findings = installation.check(home)
    assert [finding for finding in findings if finding.verdict == "fault"] == []
    assert {finding.topic for finding in findings} >= {"python", "packages", "versions", "kernels", "disk"}
    assert not home.parent.exists()
    assert json.loads(json.dumps([finding.to_json() for finding in findings]))


def test_doctor_says_when_the_home_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (disk,) = (it for it in installation.check(tmp_path / "file" / "home") if it.topic == "disk")
    assert disk.verdict == "fault"
    assert "--home" in disk.todo


def test_doctor_says_where_compiled_kernels_are_kept(tmp_path: Path) -> None:
    env = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    code = "from grid import installation; from pathlib import Path; print(*installation.check(Path()), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env)
    (kernels,) = (line for line in done.stdout.splitlines() if "topic='kernels'" in line)
    assert "verdict='good'" in kernels
    assert str(tmp_path) in kernels
