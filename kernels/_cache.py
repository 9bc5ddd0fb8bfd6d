"""Where compiled kernels are kept: numba's own cache, made safe against stale code and broken disks.

numba looks in ``$NUMBA_CACHE_DIR``, then ``__pycache__`` beside the source, then the user's cache folder; its key holds
the CPU's features. Two things it doesn't do are added here, because a wrong or failing cache must never decide about
events: code compiled from another version of *any* kernel file is not used (numba compares only the file that a
function stands in, not those of the functions it calls), and a cache that can't be read or written is as good as none.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import pickle
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["KernelCache"]

numba_caching: Any = import_module("numba.core.caching")  # as Any: what numba types of it changes by version

#: What reading a damaged cache file was seen to raise, or can by the rules of pickle.
DAMAGE = (
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    pickle.PickleError,
)


class KernelCache(numba_caching.FunctionCache):  # type: ignore[misc]  # numba is untyped
    """The cache of one kernel.

    Parameters
    ----------
    function
        The Python function.

    Raises
    ------
    RuntimeError
        No folder can be written to.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        self._cache_file = numba_caching.IndexDataCacheFile(
            cache_path=self._cache_path,
            filename_base=self._impl.filename_base,
            source_stamp=package_digest(),
        )

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Compiled code for a signature, or None; a damaged entry is emptied so that the next save mends it."""
        try:
            return super().load_overload(sig, target_context)
        except DAMAGE:
            with contextlib.suppress(OSError):
                self.flush()
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep compiled code if the folder lets us."""
        with contextlib.suppress(*DAMAGE):
            super().save_overload(sig, data)


@functools.cache
def package_digest() -> str:
    """SHA-256 over the source of every kernel module."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
