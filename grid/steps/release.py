"""Which software ran: a digest of everything that is installed."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import metadata

__all__ = ["release_digest"]


@cache
def release_digest() -> str:
    """Return the sha256 over the names and versions of all installed distributions; computed once per process."""
    installed = {(one.metadata["Name"] or "").lower(): one.version for one in metadata.distributions()}
    lines = "".join(f"{name}=={version}\n" for name, version in sorted(installed.items()))
    return hashlib.sha256(lines.encode()).hexdigest()
