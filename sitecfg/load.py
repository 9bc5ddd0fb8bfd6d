"""Read a site's settings once: shipped defaults < HOME/grid.toml < the site file < ``MDCGRID_*``.

Every problem in every one of these is found and reported together, each as file and key. The answer knows
for each value where it came from; ``sitecfg.show`` makes that readable.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, get_origin

from pydantic import BaseModel, ValidationError

from sitecfg import names
from sitecfg.errors import ConfigError
from sitecfg.failures import FAULTLESS
from sitecfg.models import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OTHER_VARIABLES", "Settings", "load_site"]

PREFIX: Final = "MDCGRID_"
DEFAULTS: Final = "defaults.toml"
#: Variables of ours that are no settings, and what they are for; every other ``MDCGRID_*`` must be the name of a key.
OTHER_VARIABLES: Final = MappingProxyType(
    {
        "MDCGRID_HOME": "The home, as `grid --home` names it",
        "MDCGRID_SITE": "The site file, as `grid --site` names it",
        "MDCGRID_REAL_DATA": "For tests and examples: the folder with `root/` and real ROOT files in it",
        "MDCGRID_BENCH_SCALE": "For benchmarks: the size of their work, 1.0 for the full one",
        "MDCGRID_STOP_AT": "For tests: the folder that says at which points processes are held",
        "MDCGRID_PAYLOAD": "Set by the farm in the processes that run payloads; not for people",
    }
)


@dataclass(frozen=True, slots=True)
class Settings:
    """A site's settings.

    ``origins`` has the source of each value by dotted key: ``defaults.toml``, a file's path, or ``$VARIABLE``.
    """

    site: Site
    origins: dict[str, str]
    home: Path


@dataclass(frozen=True, slots=True)
class _Layer:
    """One source of settings. ``sources`` names the variable of each key, where keys have sources of their own."""

    source: str
    values: dict[str, Any]
    sources: dict[str, str]

    def origin(self, key: str) -> str:
        below = [source for name, source in self.sources.items() if f"{name}.".startswith(f"{key}.")]
        return self.sources.get(key) or ", ".join(below) or self.source


@dataclass(frozen=True, slots=True)
class _Problem:
    source: str
    key: str
    what: str

    def __str__(self) -> str:
        return f"{self.source}: {self.key}: {self.what}" if self.key else f"{self.source}: {self.what}"


@dataclass(frozen=True, slots=True)
class _Wrong:
    """What the models find; ``joint`` if only all sources together can be blamed for it."""

    key: str
    what: str
    joint: bool
    near: tuple[str, ...] = ()


def load_site(
    home: Path, site_file: Path | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """Read the settings of the site whose home is ``home``. Only reads; nothing is created.

    Parameters
    ----------
    home
        The home of the farm. Its ``grid.toml`` need not exist; relative paths in settings are below it.
    site_file
        Settings that several homes share; default ``$MDCGRID_SITE``, else none. It must exist.
    environ
        The environment; default ``os.environ``.

    Raises
    ------
    ConfigError
        Lists every problem of every file and variable; ``facts["problems"]`` has them one by one.
    """
    environ = os.environ if environ is None else environ
    home = home.expanduser().absolute()
    shared = site_file or (Path(environ["MDCGRID_SITE"]) if environ.get("MDCGRID_SITE") else None)
    problems: list[_Problem] = []
    defaults = tomllib.loads(files("sitecfg").joinpath(DEFAULTS).read_text("utf-8"))
    layers = [
        _file_layer(home / "grid.toml", problems, must_exist=False),
        *([_file_layer(shared.expanduser(), problems, must_exist=True)] if shared else []),
        _environment_layer(environ),
    ]

    # Each source is judged alone first: a mistake that a later source hides is still a mistake.
    merged, origins = defaults, dict.fromkeys(_leaves(defaults), DEFAULTS)
    for layer in layers:
        alone = _judge(_merge(defaults, layer.values), home)
        problems += [_placed(wrong, layer.origin(wrong.key)) for wrong in alone if not wrong.joint]
        merged = _merge(merged, layer.values)
        given = {key: layer.origin(key) for key in _leaves(layer.values)}
        origins = {key: given.get(key, origins.get(key, layer.source)) for key in _leaves(merged)}
    # What lies below a key that is reported already is only its echo.
    echoes = tuple(f"{problem.key}." for problem in problems)
    problems += [
        _placed(wrong, _origin(wrong.key, origins))
        for wrong in _judge(merged, home)
        if not f"{wrong.key}.".startswith(echoes)
    ]
    if problems:
        raise _config_error(problems)
    return Settings(Site.model_validate(merged, context={"home": home}), origins, home)


def _file_layer(path: Path, problems: list[_Problem], *, must_exist: bool) -> _Layer:
    values: dict[str, Any] = {}
    try:
        values = tomllib.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        if must_exist:
            problems.append(_Problem(str(path), "", "this settings file doesn't exist"))
    except OSError as error:
        problems.append(_Problem(str(path), "", f"can't be read: {error.strerror}"))
    except UnicodeDecodeError as error:
        problems.append(_Problem(str(path), "", f"is no UTF-8 text (byte {error.start})"))
    except ValueError as error:  # TOMLDecodeError, or a number of thousands of digits
        problems.append(_Problem(str(path), "", f"is no TOML: {error}"))
    return _Layer(str(path), values, {})


def _environment_layer(environ: Mapping[str, str]) -> _Layer:
    """Make a layer of ``MDCGRID_SECTION__KEY`` variables. An empty one counts as not set."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for variable in sorted(environ):
        if not variable.startswith(PREFIX) or variable in OTHER_VARIABLES or not environ[variable]:
            continue
        path = variable.removeprefix(PREFIX).lower().split("__")
        if path[0] == "retry":  # failure classes have dashes, which no shell allows in a variable
            path[1:2] = [part.replace("_", "-") for part in path[1:2]]
        sources[".".join(path)] = f"${variable}"
        node = values
        for part in path[:-1]:
            node = node.setdefault(part, {})
            if not isinstance(
                node, dict
            ):  # MDCGRID_WORKERS=3 beside MDCGRID_WORKERS__SLOTS=4: the first is refused
                break
        else:
            node[path[-1]] = environ[variable]
    return _Layer("the environment", values, sources)


def _merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _leaves(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _judge(values: dict[str, Any], home: Path) -> list[_Wrong]:
    try:
        Site.model_validate(values, context={"home": home})
    except ValidationError as error:
        found = [_wrong(detail) for detail in error.errors(include_url=False, include_input=False)]
    else:
        found = []
    retry = values.get("retry")
    rules = {failure: retry.get(failure) for failure in sorted(FAULTLESS)} if isinstance(retry, dict) else {}
    return found + [
        _Wrong(f"retry.{failure}.retries", "can't be limited: it is never the job's fault", joint=False)
        for failure, rule in rules.items()
        if isinstance(rule, dict) and rule.get("retries", -1) not in ("unlimited", -1)
    ]


def _wrong(detail: Any) -> _Wrong:
    path = [str(part) for part in detail["loc"] if part != "[key]"]
    key, kind = ".".join(path), detail["type"]
    if kind == "extra_forbidden":
        return _Wrong(key, "there is no such key", joint=False, near=tuple(_near_keys(path)))
    if kind in {"model_type", "dict_type", "model_attributes_type"}:
        return _Wrong(key, f"this is a section, written [{key}]", joint=False)
    if kind == "missing":
        return _Wrong(key, "this key is needed", joint=True)
    # What is wrong with a whole section may be due to two sources, each of which is right alone.
    joint = kind == "value_error" and key in _keys(Site, sections=True)
    return _Wrong(key, str(detail["msg"]).removeprefix("Value error, "), joint=joint)


def _near_keys(path: list[str]) -> list[str]:
    keys = [*_keys(Site), *_keys(Site, sections=True)]
    section = "".join(f"{part}." for part in path[:-1])
    beside = [key.removeprefix(section) for key in keys if key.startswith(section)]
    return [section + key for key in names.near(path[-1], beside)] or names.near(".".join(path), keys)


def _keys(model: type[BaseModel], prefix: str = "", *, sections: bool = False) -> Iterator[str]:
    """Give the dotted keys of the values, or of the sections."""
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if sections:
                yield f"{prefix}{name}"
            yield from _keys(kind, f"{prefix}{name}.", sections=sections)
        elif sections == (get_origin(kind) is Mapping):
            yield f"{prefix}{name}"


def _origin(key: str, origins: dict[str, str]) -> str:
    """Say which source a key, or else the nearest section around it, is from; defaults come last."""
    if key in origins:
        return origins[key]
    section = key
    while section:
        near = [
            source for name, source in origins.items() if name == section or name.startswith(f"{section}.")
        ]
        changed = [source for source in near if source != DEFAULTS]
        if near:
            return ", ".join(dict.fromkeys(changed or near))
        section = section.rpartition(".")[0]
    return "settings"


def _placed(wrong: _Wrong, source: str) -> _Problem:
    what = wrong.what
    if wrong.near:
        spelled = [_variable(key) if source.startswith("$") else key for key in wrong.near]
        what = f"{what}; near: {', '.join(spelled)}"
    return _Problem(source, wrong.key, what)


def _variable(key: str) -> str:
    return PREFIX + key.upper().replace(".", "__").replace("-", "_")


def _config_error(problems: list[_Problem]) -> ConfigError:
    facts = [{"source": p.source, "key": p.key, "what": p.what} for p in problems]
    if len(problems) == 1:
        only = problems[0]
        where = f"{only.source}: {only.key}" if only.key else only.source
        return ConfigError(only.what, where=where, todo="put it right there", problems=facts)
    lines = "".join(f"\n  {problem}" for problem in problems)
    return ConfigError(
        f"{len(problems)} problems in the settings:{lines}\n", todo="put them right there", problems=facts
    )
