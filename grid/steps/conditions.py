"""The constants that a user's function is given: a TOML or JSON file, named by its content."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any

from sitecfg.errors import UserCodeError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["load_conditions", "read_conditions"]


def read_conditions(content: bytes, *, where: str) -> dict[str, Any]:
    """Parse constants.

    Raises
    ------
    UserCodeError
        If the bytes are neither a JSON object nor TOML.
    """
    try:
        text = content.decode()
        value = json.loads(text) if text.lstrip().startswith("{") else tomllib.loads(text)
    except ValueError as error:
        raise UserCodeError(
            f"the constants can't be read: {error}", where=where, todo="write them as TOML or JSON"
        ) from error
    if not isinstance(value, dict):
        raise UserCodeError("the constants are no table", where=where, todo="write key = value pairs")
    return value


def load_conditions(scripts: Path, digest: str) -> dict[str, Any] | None:
    """Return the stored constants of this digest, None for no digest."""
    if not digest:
        return None
    path = scripts / f"{digest}.conditions"
    try:
        return read_conditions(path.read_bytes(), where=str(path))
    except OSError as error:
        raise UserCodeError(
            f"the stored constants can't be read: {error.strerror}", where=str(path), todo="submit again"
        ) from error
