"""Compiled code: found again, never stale, never in the way. Each case is a process with its own copy of the room."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import kernels
from kernels._jit import kernel
from kernels.fingerprint import mix64

#: numba is there, so that the few numbers are not left to the reference.
SEAL = """
import numba
import numpy as np
from kernels.content import seal
print(int(seal(np.zeros(1, dtype=np.uint64))[0]))
"""
EXPECTED = f"{mix64(0x452821E638D01377)}\n"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A copy of the package, without what was compiled."""
    source = Path(kernels.__file__).parent
    shutil.copytree(source, tmp_path / "site" / "kernels", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "home").mkdir()
    return tmp_path


def run(room: Path, script: str, *, cache: Path | None = None) -> str:
    """Run a script with warnings as errors; give what it printed."""
    drop = {"NUMBA_CACHE_DIR", "XDG_CACHE_HOME", "PYTHONPATH"}
    environ = {key: value for key, value in os.environ.items() if key not in drop}
    environ |= {"HOME": str(room / "home"), "PYTHONDONTWRITEBYTECODE": "1"}
    if cache:
        environ["NUMBA_CACHE_DIR"] = str(cache)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=room / "site",
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout


def compiled(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.nb[ic]"))


def test_code_is_kept_where_the_farm_says(room: Path) -> None:
    assert run(room, SEAL, cache=room / "cache") == EXPECTED
    kept = {path: path.stat().st_mtime_ns for path in compiled(room / "cache")}
    assert kept
    assert run(room, SEAL, cache=room / "cache") == EXPECTED
    assert {path: path.stat().st_mtime_ns for path in compiled(room / "cache")} == kept
    assert not compiled(room / "site")


def test_code_goes_home_where_the_package_is_read_only(room: Path) -> None:
    (room / "site" / "kernels" / "__pycache__").touch()  # a file: as unwritable as it gets, for root too
    assert run(room, SEAL) == EXPECTED
    assert compiled(room / "home")


def test_nothing_is_kept_where_nothing_can_be_written(room: Path) -> None:
    (room / "site" / "kernels" / "__pycache__").touch()
    (room / "home").rmdir()
    (room / "home").touch()
    assert run(room, SEAL) == EXPECTED


def test_a_full_disk_does_not_stop_a_kernel(room: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    assert run(room, limit + SEAL, cache=room / "cache") == EXPECTED
    assert not compiled(room / "cache")


def test_damaged_code_is_compiled_again(room: Path) -> None:
    run(room, SEAL, cache=room / "cache")
    whole = {path: path.stat().st_size for path in compiled(room / "cache")}
    for path in whole:
        path.write_bytes(path.read_bytes()[: whole[path] // 3])
    assert run(room, SEAL, cache=room / "cache") == EXPECTED
    assert all(
        path.stat().st_size > size // 2 for path, size in whole.items() if path.name.startswith("content")
    )


def test_code_that_calls_a_changed_kernel_is_compiled_again(room: Path) -> None:
    """numba alone would go on using what `seal` was compiled with when `mix64` was another."""
    run(room, SEAL, cache=room / "cache")
    source = room / "site" / "kernels" / "fingerprint.py"
    before = source.read_text()
    source.write_text(before.replace("np.uint64(27)", "np.uint64(28)"))
    assert source.read_text() != before
    assert run(room, SEAL, cache=room / "cache") != EXPECTED


def test_threads_may_meet_in_a_first_call(room: Path) -> None:
    script = """
import numpy as np
from concurrent.futures import ThreadPoolExecutor
from kernels.content import seal
with ThreadPoolExecutor(8) as pool:
    answers = list(pool.map(lambda _: int(seal(np.zeros(1, dtype=np.uint64))[0]), range(8)))
print(*set(answers))
"""
    assert run(room, script, cache=room / "cache") == EXPECTED


def test_numba_is_imported_when_a_kernel_runs_and_not_before(room: Path) -> None:
    script = """
import sys
from kernels import adler, bits, content, fingerprint, prescale, reference, unique
fingerprint.add("0" * 32), adler.combine(1, 1, 0), content.salt_of("x")
print("numba" in sys.modules)
"""
    assert run(room, script) == "False\n"


def test_kernels_keep_their_name_and_documentation() -> None:
    def double(x: int) -> int:
        """Twice."""
        return 2 * x

    doubled = kernel(double)
    assert doubled(21) == 42
    assert (getattr(doubled, "__name__", ""), doubled.__doc__) == ("double", "Twice.")


def test_kernels_load_no_extension_of_numba_and_others_have_them_still() -> None:
    code = """
import sys
import numba
import numpy as np
from kernels.adler import adler32
assert adler32(b"abc") == 0x024D0127
assert "awkward" not in sys.modules
import awkward as ak
count = numba.njit(lambda lists: len(lists))
assert count(ak.Array([[1], [2, 3]])) == 2
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
