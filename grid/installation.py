"""Is this installation fit for work? Asked by ``grid doctor``, and in part by every worker before it starts.

Four bare top-level names (``grid``, ``kernels``, ``catalog``, ``sitecfg``) can collide with other wheels or with a
folder that happens to lie on the path. A worker that imported somebody else's ``catalog`` would compute nonsense
with a clear conscience, so it refuses to start instead.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import resource
import shutil
import sys
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote, urlparse

from sitecfg.errors import InstallError

__all__ = ["DISTRIBUTION", "PACKAGES", "Finding", "check", "require_own_packages"]

DISTRIBUTION = "mdcgrid"
PACKAGES = ("catalog", "grid", "kernels", "sitecfg")
#: Below this a home is called full; a production of usual size needs a few times its merge target.
LOW_SPACE = 2_000_000_000
#: A busy worker holds sockets, inputs and outputs of all its slots.
LOW_FILES = 512
#: SQLite's locks do not hold on these, so a catalog there can lose commits.
SHARED_FILESYSTEMS = frozenset(
    {"nfs", "nfs4", "afs", "cifs", "smb3", "lustre", "gpfs", "ceph", "fuse.sshfs", "9p"}
)

Verdict = Literal["good", "warning", "fault"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: ``fault`` means that work must not start, ``warning`` that it may disappoint."""

    topic: str
    verdict: Verdict
    text: str
    todo: str = ""

    def to_json(self) -> dict[str, str]:
        """Return the finding as plain JSON types."""
        return asdict(self)


def require_own_packages() -> None:
    """Refuse to go on unless all four packages come from our distribution.

    Raises
    ------
    InstallError
        Names each package that is missing, shadowed or claimed by another distribution.
    """
    faults = [finding for finding in _packages() if finding.verdict == "fault"]
    if faults:
        raise InstallError(
            "; ".join(finding.text for finding in faults),
            where=sys.prefix,
            todo=faults[0].todo,
            findings=[finding.to_json() for finding in faults],
        )


def check(home: Path) -> list[Finding]:
    """Look the installation over, and the place where `home` lies or would be made.

    Reads only, except that the first call of a kernel may write numba's compilation cache. Takes a few seconds.
    """
    place = _existing(home)
    return [
        _python(),
        *_packages(),
        *_requirements(),
        _kernels(),
        _disk(place),
        _filesystem(place),
        _open_files(),
    ]


def _python() -> Finding:
    text = f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {sys.prefix}"
    if sys.platform != "linux":
        return Finding(
            "python", "fault", text, "The farm needs Linux: its processes are tied together by prctl."
        )
    return Finding("python", "good", text)


def _packages() -> list[Finding]:
    try:
        ours = metadata.distribution(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        todo = "Install it, for example with `make demo` in a checkout, or `pip install` and the wheel."
        return [Finding("packages", "fault", f"the distribution {DISTRIBUTION} is not installed", todo)]
    claims = metadata.packages_distributions()
    return [_package(name, ours, set(claims.get(name, ()))) for name in PACKAGES]


def _package(name: str, ours: metadata.Distribution, claimed_by: set[str]) -> Finding:
    checkout = _checkout(ours)
    expected = (checkout or Path(str(ours.locate_file("")))).resolve() / name / "__init__.py"
    spec = importlib.util.find_spec(name)
    found = Path(spec.origin).resolve() if spec and spec.origin else None
    others = sorted(claimed_by - {DISTRIBUTION})
    if others:
        todo = f"Give {DISTRIBUTION} an environment of its own, without {', '.join(others)}."
        return Finding("packages", "fault", f"{name} is claimed by {', '.join(others)} too", todo)
    if not checkout and DISTRIBUTION not in claimed_by:
        return Finding("packages", "fault", f"{name} is missing from {DISTRIBUTION}", "Install it anew.")
    if found != expected:
        todo = "Start from another folder, or clean PYTHONPATH: something there has the name of our package."
        return Finding("packages", "fault", f"{name} is imported from {found}, not from {expected}", todo)
    how = "a checkout" if checkout else f"{DISTRIBUTION} {ours.version}"
    return Finding("packages", "good", f"{name} comes from {how}: {expected.parent}")


def _checkout(ours: metadata.Distribution) -> Path | None:
    """Return the folder of an editable installation, whose distribution lists no packages; else None."""
    text = ours.read_text("direct_url.json")
    origin: dict[str, Any] = json.loads(text) if text else {}
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return Path(unquote(urlparse(str(origin["url"])).path))


def _requirements() -> list[Finding]:
    from packaging.requirements import Requirement

    findings = []
    for line in metadata.requires(DISTRIBUTION) or ():
        wanted = Requirement(line)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            version = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            findings.append(
                Finding("versions", "fault", f"{wanted} is not installed", f"pip install '{wanted}'")
            )
            continue
        if wanted.specifier.contains(version, prereleases=True):
            findings.append(Finding("versions", "good", f"{wanted.name} {version}"))
        else:
            todo = f"pip install '{wanted}'"
            findings.append(
                Finding("versions", "fault", f"{wanted.name} {version}, but {wanted} is needed", todo)
            )
    return findings


def _kernels() -> Finding:
    import zlib

    from kernels import adler
    from kernels._jit import Kernel

    data = bytes(range(256))
    if adler.adler32(data) != zlib.adler32(data):
        return Finding("kernels", "fault", "compiled kernels compute wrong checksums", "Install numba anew.")
    compiled = next(it for it in vars(adler).values() if isinstance(it, Kernel))
    folder = compiled.dispatcher.stats.cache_path
    if folder is None:
        todo = (
            "Set NUMBA_CACHE_DIR to a folder on this machine's own disk; until then each start compiles anew."
        )
        return Finding(
            "kernels", "warning", "compiled kernels agree with zlib, but can be kept nowhere", todo
        )
    return Finding("kernels", "good", f"compiled kernels agree with zlib, and are kept in {folder}")


def _disk(place: Path) -> Finding:
    free = shutil.disk_usage(place).free
    text = f"{free / 1e9:.1f} GB free at {place}"
    if not place.is_dir() or not os.access(place, os.W_OK):
        return Finding(
            "disk", "fault", f"{place} can't be written", "Choose another home: `grid --home DIR`."
        )
    if free < LOW_SPACE:
        return Finding("disk", "warning", text, "Make room, or choose another home: `grid --home DIR`.")
    return Finding("disk", "good", text)


def _filesystem(place: Path) -> Finding:
    import psutil

    mounts = [part for part in psutil.disk_partitions(all=True) if place.is_relative_to(part.mountpoint)]
    kind = max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "unknown"
    if kind in SHARED_FILESYSTEMS:
        todo = "Put the home on a local disk: SQLite's locks and fsync don't hold on a shared file system."
        return Finding("filesystem", "warning", f"{place} lies on {kind}", todo)
    return Finding("filesystem", "good", f"{place} lies on {kind}")


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < LOW_FILES:
        return Finding("limits", "warning", f"only {soft} files may be open", f"ulimit -n {min(hard, 4096)}")
    return Finding("limits", "good", f"{soft} files may be open")


def _existing(path: Path) -> Path:
    """Return `path`, or its nearest parent that exists."""
    return next(place for place in (path.absolute(), *path.absolute().parents) if place.exists())
