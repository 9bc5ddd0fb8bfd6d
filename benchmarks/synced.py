"""Run our command; write to a file, as JSON, how many seconds it waited for the disk: ``synced.py FILE merge ...``."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

_sync = os.fsync
_waited = [0.0]


def _timed(fd: Any) -> None:
    begun = time.perf_counter()
    _sync(fd)
    _waited[0] += time.perf_counter() - begun


os.fsync = _timed
out = Path(sys.argv.pop(1))
try:
    from grid.cli.main import main

    main()
finally:
    out.write_text(json.dumps({"waited": _waited[0]}))
