"""The one door to numba."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import threading
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["Kernel", "expect", "kernel", "light"]

#: Held while any kernel is called for the first time in this process.
_FIRST_CALL = threading.RLock()

P = ParamSpec("P")
R = TypeVar("R")


class Kernel(Generic[P, R]):
    """A function that numba compiles when it is first called (or first used by another kernel that is).

    The GIL is released; there is no ``parallel`` (Dask supplies parallelism, and numba's always-present threading
    layer aborts when two Python threads enter it) and no ``fastmath``. Thread-safe. The machine code is kept in
    numba's cache (see `kernels._cache`), or only in memory where no folder can be written.

    Kernels are called with canonical arguments (`kernels._arrays`), so each is compiled for one signature only:
    compile time stays small, and two processes that fill one cache write the same thing.

    Parameters
    ----------
    function
        Loops over numpy arrays, in the Python that numba compiles.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        self.function = function
        self._compiled = False
        functools.update_wrapper(self, function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the compiled function."""
        if self._compiled:
            result: R = self.dispatcher(*args, **kwargs)
            return result
        # numba's own lock doesn't cover its registry of types, which an import in another thread may change.
        with _FIRST_CALL, _no_extensions():
            result = self.dispatcher(*args, **kwargs)
            self._compiled = True
            return result

    @functools.cached_property
    def dispatcher(self) -> Any:
        """The numba dispatcher; numba is imported here, so that rooms which only format hashes start fast."""
        from numba import njit  # noqa: PLC0415

        from kernels._cache import KernelCache  # noqa: PLC0415

        dispatcher: Any = njit(nogil=True)(self.function)
        # RuntimeError is numba's word for "no folder to write to": then the code lives in memory only.
        with contextlib.suppress(RuntimeError):
            dispatcher._cache = KernelCache(self.function)
        return dispatcher

    @property
    def _numba_type_(self) -> Any:
        """What numba asks a global for when another kernel calls it."""
        return self.dispatcher._numba_type_


@contextlib.contextmanager
def _no_extensions() -> Iterator[None]:
    """Keep numba from importing packages that extend it before it first compiles, awkward among them.

    Kernels need none of them, and importing them takes longer than all else. Who compiles functions of his own has
    them still.
    """
    entrypoints: Any = importlib.import_module("numba.core.entrypoints")
    before = getattr(
        entrypoints, "_already_initialized", False
    )  # numba's own: it may go, and then nothing is kept off
    entrypoints._already_initialized = True
    try:
        yield
    finally:
        entrypoints._already_initialized = before


def kernel(function: Callable[P, R]) -> Kernel[P, R]:
    """Compile a function with numba on first use, keeping its signature for type checkers.

    Parameters
    ----------
    function
        As for `Kernel`.

    Returns
    -------
    Kernel
        Callable like the function.
    """
    return Kernel(function)


#: So many items numpy goes through in the time that numba takes to be imported.
_LIGHT = 1 << 21


def light(items: int) -> bool:
    """Whether `kernels.reference` has the answer before numba would even be there.

    Parameters
    ----------
    items
        How many items, or bytes, there are to go through.
    """
    return items <= _LIGHT and "numba" not in sys.modules


def expect(items: int) -> None:
    """Import numba now if many calls will come, each of which alone would be a light one.

    Parameters
    ----------
    items
        How many items, or bytes, there are to go through in all calls together.
    """
    if items > _LIGHT:
        importlib.import_module("numba")
