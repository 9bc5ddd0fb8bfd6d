"""The user's own code: stored by content hash when it is submitted, imported by that hash when it runs.

What runs is what was submitted: later edits of the script change nothing in a production that has begun.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sitecfg.errors import GridError, UsageError, UserCodeError, said_by

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = ["UserCode", "describe", "load", "load_script", "module_name", "store"]


@dataclass(frozen=True, slots=True)
class UserCode:
    """A function of the user's, named so that a process elsewhere can import it.

    Attributes
    ----------
    function
        The function's name at the top level of its module.
    digest
        sha256 of the script that holds it, or "" for a function of an installed distribution.
    module
        The installed module that holds it, or "" for a script.
    source
        The script's bytes; empty for an installed module.
    """

    function: str
    digest: str = ""
    module: str = ""
    source: bytes = b""

    def __str__(self) -> str:
        return f"{self.digest[:12] or self.module}:{self.function}"


def describe(function: Callable[..., Any]) -> UserCode:
    """Name a function so that a worker can import it.

    Raises
    ------
    UsageError
        For a lambda, a closure, a method, a function typed at a prompt, or one of a module that is neither
        the script nor installed: a worker could not import it.
    """
    name = getattr(function, "__qualname__", "")
    where = f"process={name or function!r}"
    if not inspect.isfunction(function) or "<" in name or "." in name or function.__closure__:
        raise UsageError(
            "only a function at the top level of a script can run on workers",
            where=where,
            todo="write it as 'def name(events, conditions):' at the top level of the script",
        )
    module = sys.modules.get(function.__module__)
    path = Path(getattr(module, "__file__", None) or "")
    if not path.is_file() or getattr(module, name, None) is not function:
        raise UsageError(
            "the function does not come from a file that a worker could read",
            where=where,
            todo="put it into a script and submit that with 'grid run SCRIPT'",
        )
    if function.__module__ == "__main__" or function.__module__.startswith(_PREFIX):
        source = path.read_bytes()
        digest = hashlib.sha256(source).hexdigest()
        if function.__module__ not in ("__main__", module_name(digest)):
            raise UsageError("the script was changed while it ran", where=str(path), todo="run it again")
        return UserCode(name, digest=digest, source=source)
    if _installed(path):
        return UserCode(name, module=function.__module__)
    raise UsageError(
        f"the function lives in {path.name}, which workers do not have",
        where=where,
        todo="move it into the script itself, or install its module as a distribution",
    )


def store(folder: Path, content: bytes, suffix: str) -> str:
    """Keep `content` under its sha256 in `folder`; idempotent and safe against a crash. Return the digest."""
    digest = hashlib.sha256(content).hexdigest()
    final = folder / f"{digest}{suffix}"
    if not final.exists():
        folder.mkdir(parents=True, exist_ok=True)
        temp = folder / f".{digest}.{os.getpid()}"
        with temp.open("wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        temp.replace(final)
    return digest


def load(code: UserCode, scripts: Path) -> Callable[..., Any]:
    """Import the function on a worker.

    Raises
    ------
    UserCodeError
        If the stored script is missing or was changed, or if importing it fails (the cause is chained).
    """
    from grid.rootio.guard import end_if_not

    owner = os.getpid()
    todo = "install it at this site" if code.module else "mend the script"
    try:
        if code.module:
            module = importlib.import_module(code.module)
        else:
            module = load_script(scripts / f"{code.digest}.py", digest=code.digest)
    except GridError:
        raise
    except BaseException as error:  # whatever a user's module raises while it is imported
        raise UserCodeError(
            f"importing it raised {type(error).__name__}: {said_by(error)}", where=str(code), todo=todo
        ) from error
    finally:
        end_if_not(owner)
    function = getattr(module, code.function, None)
    if not callable(function):
        raise UserCodeError(
            f"the script has no function {code.function!r} when it is imported",
            where=str(code),
            todo="define it at the top level, not under 'if __name__ == \"__main__\":'",
        )
    return function  # type: ignore[no-any-return]


def load_script(path: Path, *, digest: str = "") -> ModuleType:
    """Import a script as a module whose name is made of its content, so that ``__main__`` guards stay closed.

    Parameters
    ----------
    path
        The script.
    digest
        If given, the sha256 that the script's bytes must have.
    """
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UserCodeError(f"the script can't be read: {error.strerror}", where=str(path)) from error
    found = hashlib.sha256(source).hexdigest()
    if digest and found != digest:
        raise UserCodeError(
            "the stored script was changed after it was submitted", where=str(path), todo="submit it again"
        )
    name = module_name(found)
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserCodeError("this is no Python script", where=str(path), todo="give a file that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def module_name(digest: str) -> str:
    """Return the name under which a script of this digest is imported."""
    return f"{_PREFIX}{digest[:16]}"


_PREFIX = "mdcgrid_script_"


def _installed(path: Path) -> bool:
    return "site-packages" in path.parts or "dist-packages" in path.parts
