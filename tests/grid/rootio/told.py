"""ROOT in a process of its own that does one thing after the other, as it is told by lines of JSON."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_ROOT_OF_ALL = Path(__file__).parents[3]


class Told:
    """Such a process, told from outside.

    Parameters
    ----------
    module
        What runs in it; it calls :func:`serve`.
    """

    def __init__(self, module: str) -> None:
        command = [sys.executable, "-W", "ignore", "-m", module]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=_ROOT_OF_ALL
        )

    def __call__(self, call: str, *given: Any) -> Any:
        """Have a function of the C++ code called; return its answer."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({"call": call, "given": given}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def serve(code: str, libraries: Sequence[str]) -> None:
    """Declare C++ code, and call its functions for as long as somebody asks."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ROOT  # type: ignore[import-untyped, unused-ignore]
    for name in libraries:
        ROOT.gSystem.Load("lib" + name)
    assert ROOT.gInterpreter.Declare(code)
    for line in sys.stdin:
        told: dict[str, Any] = json.loads(line)
        answer = getattr(ROOT, told["call"])(*told["given"])
        sys.stdout.write(json.dumps(str(answer) if isinstance(answer, ROOT.std.string) else answer) + "\n")
        sys.stdout.flush()
