"""What a site is: the settings, typed. Frozen, unknown keys refused, every key described.

The models have no defaults of their own: those are in ``defaults.toml``, once. So a :class:`Site` is made by
:func:`sitecfg.load.load_site`, not by hand.
"""

from __future__ import annotations

import os
from collections.abc import Mapping  # noqa: TC003 -- pydantic reads annotations while it runs
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from sitecfg import failures, names
from sitecfg.units import Bytes, Seconds

__all__ = ["Catalog", "Gateway", "Lease", "Merge", "Place", "Pool", "Retry", "Site", "Storage", "Workers"]

_SQLITE: Final = "sqlite:///"


def _below_home(path: Path, info: ValidationInfo) -> Path:
    if path == Path():
        msg = "an empty path"
        raise ValueError(msg)
    home: Path = info.context["home"] if info.context else Path()
    return home / path.expanduser()


def _database_url(url: str, info: ValidationInfo) -> str:
    """Put a relative SQLite file below the home; refuse what is no URL."""
    if "://" not in url:
        msg = "a SQLAlchemy URL is wanted, such as sqlite:///catalog.sqlite"
        raise ValueError(msg)
    file = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or not file or file.startswith((":", "file:")):
        return url
    return f"{_SQLITE}{_below_home(Path(file), info)}"


def _place_url(url: str) -> str:
    if "://" not in url:
        msg = "a URL with its scheme is wanted, such as file:///data or root://host//store"
        raise ValueError(msg)
    return url


def _whole(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().removeprefix("-").isdecimal():
        return int(value)
    msg = "a whole number is wanted"
    raise ValueError(msg)


def _slots(value: Any, info: ValidationInfo) -> int:
    """Read the slots of a worker; ``auto`` is its share of the usable cores, at least one."""
    if value != "auto":
        return _whole(value)
    return max(1, len(os.sched_getaffinity(0)) // int(info.data.get("number", 1)))


def _retries(value: Any) -> int:
    return -1 if value == "unlimited" else _whole(value)


def _failure(failure: str) -> str:
    if failure not in failures.shipped():
        close = names.near(failure, failures.shipped()) or list(failures.shipped())
        msg = f"there is no failure class {failure!r}; near: {', '.join(close)}"
        raise ValueError(msg)
    return failure


#: A mapping of a frozen model is one that can't be changed either.
_Frozen = AfterValidator(MappingProxyType)
_Count = Annotated[int, BeforeValidator(_whole), Field(ge=1)]
_HomePath = Annotated[Path, AfterValidator(_below_home)]
_Part = Annotated[float, Field(gt=0, lt=1)]
_SomeTime = Annotated[Seconds, Field(gt=0)]
_SomeBytes = Annotated[Bytes, Field(gt=0)]


class _Settings(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )


class Place(_Settings):
    """A storage place. Its URL may hold a password: it is not part of ``repr``."""

    url: Annotated[str, AfterValidator(_place_url)] = Field(
        description="Where it is, as a URL that fsspec can open", repr=False
    )


class Storage(_Settings):
    """Where files may lie."""

    places: Annotated[Mapping[str, Place], _Frozen] = Field(description="Storage places by name")

    def urls(self) -> dict[str, str]:
        """Return the URL of each place."""
        return {name: place.url for name, place in self.places.items()}


class Pool(_Settings):
    """The disk pool, where outputs are written."""

    path: _HomePath = Field(description="The folder of the pool, an absolute path once loaded")
    reserve: Bytes = Field(description="Bytes that are always left free on the pool's disk")


class Workers(_Settings):
    """The workers of this site's farm, and the limits of a payload."""

    executor: Literal["dask", "local"] = Field(description="What runs attempts: Dask, or slots without it")
    number: _Count = Field(description="Worker processes")
    slots: Annotated[int, BeforeValidator(_slots), Field(ge=1)] = Field(
        description="Payloads that one worker runs at a time; 'auto' shares the usable cores"
    )
    memory: _SomeBytes = Field(description="Bytes of memory that one payload may use")
    wall_time: _SomeTime = Field(description="Seconds that one payload may take")
    quiet_time: _SomeTime = Field(description="Seconds without progress after which a payload is ended")
    chunk: _SomeBytes = Field(description="Bytes of memory that a chunk of events may take in a payload")


class Catalog(_Settings):
    """The catalog's database. Its URL may hold a password: it is not part of ``repr``."""

    url: Annotated[str, AfterValidator(_database_url)] = Field(
        description="SQLAlchemy URL of the catalog; a relative SQLite file lies below the home", repr=False
    )


class Gateway(_Settings):
    """The one door to the ledger."""

    host: str = Field(description="Address to listen on", min_length=1)
    port: Annotated[int, BeforeValidator(_whole)] = Field(
        description="Port to listen on; 0 takes any free one", ge=0, le=65535
    )
    body_limit: _SomeBytes = Field(description="Bytes of the largest request that is read")


class Lease(_Settings):
    """The lease that a worker holds on a job."""

    seconds: _SomeTime = Field(description="Seconds that it lasts without being renewed")
    renew_fraction: _Part = Field(description="Part of it after which it is renewed")
    fence_fraction: _Part = Field(description="Part of it without an answer after which it isn't relied on")
    grace: Seconds = Field(description="Seconds after its end until files of an unknown attempt are swept")

    @model_validator(mode="after")
    def _renewed_before_the_fence(self) -> Self:
        if self.renew_fraction >= self.fence_fraction:
            msg = f"renew_fraction {self.renew_fraction} has to be below fence_fraction {self.fence_fraction}"
            raise ValueError(msg)
        return self


class Retry(_Settings):
    """What a site changes in one class of the failure catalogue; None keeps the shipped value."""

    retries: Annotated[int, BeforeValidator(_retries), Field(ge=-1)] | None = Field(
        default=None, description="Failures that a job may have before `then`; -1 is 'unlimited'"
    )
    then: Literal["hold", "quarantine"] | None = Field(
        default=None, description="What happens when the retries are used up"
    )
    first_delay: Seconds | None = Field(default=None, description="Seconds before the first retry")
    longest_delay: Seconds | None = Field(default=None, description="Seconds that a delay grows to at most")


class Merge(_Settings):
    """The merge of each stream's outputs."""

    target: _SomeBytes = Field(description="Bytes that a merged file aims at")
    max_inputs: _Count = Field(description="The most inputs that one merge reads")


class Site(_Settings):
    """A site. Paths are absolute once it was loaded."""

    name: str = Field(description="The site's name", min_length=1, max_length=100)
    scratch: _HomePath = Field(description="The folder of work in progress, an absolute path once loaded")
    storage: Storage = Field(description="Where files may lie")
    pool: Pool = Field(description="The disk pool")
    workers: Workers = Field(description="The workers and the limits of a payload")
    catalog: Catalog = Field(description="The catalog's database")
    gateway: Gateway = Field(description="The one door to the ledger")
    lease: Lease = Field(description="The lease that a worker holds on a job")
    retry: Annotated[Mapping[Annotated[str, AfterValidator(_failure)], Retry], _Frozen] = Field(
        description="Changes to the failure catalogue, by failure class"
    )
    merge: Merge = Field(description="The merge of each stream's outputs")

    def failure_rules(self) -> Mapping[str, failures.Rule]:
        """Return the failure catalogue with this site's changes, as ``failures.decide`` takes it."""
        return failures.with_changes(
            {
                failure: failures.Change(
                    retries=rule.retries,
                    then=failures.Action(rule.then) if rule.then else None,
                    first_delay=rule.first_delay,
                    longest_delay=rule.longest_delay,
                )
                for failure, rule in self.retry.items()
            }
        )
