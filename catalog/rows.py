"""What queries about files, datasets and productions answer: frozen, detached from the database."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Dataset:
    """A named set of files. ``stream_bit`` is the stream's bit in the stream mask."""

    id: int
    scope: str
    name: str
    tier: str
    stream: str | None
    stream_bit: int | None
    production: int | None
    state: str

    def __str__(self) -> str:
        return f"{self.scope}:{self.name}"


@dataclass(frozen=True, slots=True)
class File:
    """A logical file. ``why`` says why it is bad; ``urls`` are its readable copies."""

    id: int
    dataset: int
    scope: str
    name: str
    purpose: str
    state: str
    bytes: int | None
    adler32: str | None
    xxh3: str | None
    events: int | None
    fingerprint: str | None
    content: str | None
    menu: str | None
    why: str | None
    urls: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.scope}:{self.name}"


@dataclass(frozen=True, slots=True)
class Production:
    """A production. ``shared`` holds, by kind, what all its jobs of that kind are told."""

    id: int
    scope: str
    name: str
    state: str
    priority: int
    recipe: Mapping[str, Any] = field(repr=False)
    recipe_hash: str
    script_hash: str | None
    trigger_table: int | None
    shared: Mapping[str, Any] = field(repr=False)
    why: str | None
    created: float


@dataclass(frozen=True, slots=True)
class TriggerTable:
    """A trigger table as it was imported; ``document`` is its content."""

    id: int
    name: str
    tag: int
    hash: str
    state: str
    document: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.name}/{self.tag}"
