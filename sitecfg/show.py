"""Show a site's settings: each value, where it came from and what it means. Never a secret."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, BeforeValidator

from sitecfg import units
from sitecfg.models import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic.fields import FieldInfo

    from sitecfg.load import Settings

__all__ = ["Setting", "hide_secrets", "shown"]


@dataclass(frozen=True, slots=True)
class Setting:
    """One value with its story, safe to show.

    ``value`` is plain JSON; ``text`` is how people write it.
    """

    key: str
    value: Any
    text: str
    origin: str
    description: str


def shown(settings: Settings) -> list[Setting]:
    """Return every setting in the order of ``defaults.toml``, passwords hidden."""
    return list(_shown(settings.site, Site, "", settings.origins))


def hide_secrets(url: str) -> str:
    """Return a URL with its password, and the values of its query, replaced by ``***``."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return url
    # A password may itself hold "@" or "/": whatever stands before the last "@" is taken for credentials.
    credentials, at, place = rest.rpartition("@")
    user, colon, _ = credentials.partition(":")
    rest = f"{user}:***@{place}" if colon else f"{credentials}{at}{place}"
    path, question, query = rest.partition("?")
    hidden = "&".join(f"{field.partition('=')[0]}=***" for field in query.split("&"))
    return f"{scheme}://{path}?{hidden}" if question else f"{scheme}://{path}"


def _shown(
    model: BaseModel, kind: type[BaseModel], prefix: str, origins: dict[str, str]
) -> Iterator[Setting]:
    for name, field in kind.model_fields.items():
        key, value = f"{prefix}{name}", getattr(model, name)
        if isinstance(value, BaseModel):
            yield from _shown(value, type(value), f"{key}.", origins)
        elif isinstance(value, Mapping) and value:
            for entry, part in value.items():
                yield from _shown(part, type(part), f"{key}.{entry}.", origins)
        elif value is not None:
            plain, text = _for_people(value, field, key)
            yield Setting(key, plain, text, origins[key], field.description or "")


def _for_people(value: Any, field: FieldInfo, key: str) -> tuple[Any, str]:
    """Return the value as plain JSON and as text; fields that are kept out of ``repr`` are secrets."""
    if not field.repr:
        text = hide_secrets(value) if isinstance(value, str) and "://" in value else "***"
        return text, text
    unit = _unit(field)
    if unit is units.parse_bytes:
        text = units.format_bytes(value)
        return value, text if units.parse_bytes(text) == value else f"{value} B"
    if unit is units.parse_seconds:
        text = units.format_seconds(value)
        return value, text if units.parse_seconds(text) == value else f"{value} s"
    if key.endswith(".retries") and value < 0:
        return "unlimited", "unlimited"
    plain = str(value) if isinstance(value, Path) else dict(value) if isinstance(value, Mapping) else value
    return plain, str(plain)


def _unit(field: FieldInfo) -> object:
    marks = [*field.metadata, *(mark for part in get_args(field.annotation) for mark in get_args(part)[1:])]
    return next((mark.func for mark in marks if isinstance(mark, BeforeValidator)), None)
