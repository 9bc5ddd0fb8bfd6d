"""ROOT, the independent judge, in processes of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT = find_spec("ROOT")
needs_root = pytest.mark.skipif(_ROOT is None, reason="ROOT is not installed: pip install --pre root")


def run(command: Sequence[str], **options: Any) -> str:
    """Run a command that must succeed; return what it said."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **options)
    said = str(done.stdout) + str(done.stderr)
    assert done.returncode == 0, said
    return said


def hadd(mode: str, out: Path, *inputs: Path) -> None:
    """Merge files with ROOT's own tool, which must not complain."""
    assert _ROOT is not None
    assert _ROOT.origin is not None
    home = Path(_ROOT.origin).parent
    environ = {**os.environ, "LD_LIBRARY_PATH": str(home / "lib")}
    said = run([str(home / "bin" / "hadd"), mode, str(out), *map(str, inputs)], env=environ)
    assert "Error" not in said, said


def root(code: str, *words: object) -> str:
    """Run Python that asks ROOT something, in a process of its own; return what it said."""
    return run([sys.executable, "-c", code, *map(str, words)])


def dumped(code: str, *words: object) -> Any:
    """Return what such Python printed as JSON behind the word DUMP; ROOT may say things before and after."""
    return json.loads(root(code, *words).partition("DUMP")[2].splitlines()[0])
