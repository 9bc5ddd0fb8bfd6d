"""A production as a script describes it, and what the gateway is sent for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from grid.rootio.known_branches import DEFAULT_IDENTITY
from grid.steps.conditions import read_conditions
from grid.steps.program import Command
from grid.steps.recipe import Recipe, canonical
from grid.steps.usercode import UserCode, describe
from grid.storage.find import find_files
from grid.trigger import TriggerTable
from sitecfg.errors import MissingFile, UsageError
from sitecfg.names import Name, check_production, declared_files
from sitecfg.units import parse_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from sitecfg.models import Site

    FindTable = Callable[[str, int], dict[str, Any]]

__all__ = ["SITE", "Production", "named_files", "prepare"]

#: Stands for the size of merged files that the site's settings name.
SITE = "site"


@dataclass(frozen=True)
class Production:
    """One pass of the farm over a dataset: process every file, split by trigger bit, merge each stream.

    Parameters
    ----------
    name
        The production's name, unique at its home; its output datasets are ``scope:name.stream``.
    input
        A dataset (``"cdf:raw.streamA"``), or paths, globs or URLs of files, which are then declared as the
        dataset ``scope:name.input``. ``place://NAME/2012/*.root`` are files at a storage place of the site.
    process
        ``f(events, conditions)`` at the top level of the script: an awkward array of events in, the events to
        keep out. It is called for each chunk of bounded size, and once with no event for an empty input. Or an
        external program, ``Command("reco {input} {output}")``. None: events go on unchanged.
    split
        A trigger table, or the name of an imported one, ``"PHYSICS_1_01/6"``: one output per stream and input.
        None: one stream, ``all``.
    merge
        Wanted size of merged files, such as ``"1 GB"``; ``"site"``: what the site's settings say; None leaves one
        file per stream and input.
    release
        The name of the frozen release, if there is one.
    conditions
        A constants file (TOML or JSON), stored by its content and given to `process` as a mapping.
    scope
        Scope of the output datasets; the input dataset's, or ``user``.
    tree
        The event tree, or the parallel event trees, that are cut; found by their identity branches if not given.
    identity
        The branches that tell one event from another, or ``"entry"``: then they are made from the file's hash
        and the entry number.
    keep
        Rules such as ``["keep *", "drop Photon_*"]``; the last that matches a branch wins.
    on_refused
        ``"refuse"``, or ``"drop"`` to leave out (and record) branches that can't be carried.
    compression
        Like ``"zstd:5"``; the input's if not given.
    format
        ``"ttree"`` writes TTrees for RNTuple inputs too; without it they stay RNTuples, which no function, rule or
        made identity can change.
    """

    name: str
    input: str | Path | Sequence[str | Path]
    process: Callable[..., Any] | Command | None = None
    split: str | TriggerTable | None = None
    merge: str | int | None = SITE
    release: str | None = None
    conditions: str | Path | None = None
    scope: str | None = None
    tree: str | Sequence[str] = ()
    identity: str | Sequence[str] = DEFAULT_IDENTITY
    keep: Sequence[str] = ()
    on_refused: str = "refuse"
    compression: str | None = None
    format: str | None = None


def prepare(production: Production, find_table: FindTable, site: Site) -> dict[str, Any]:
    """Check a production and return the body of ``POST /submit``.

    Parameters
    ----------
    production
        As the script describes it.
    find_table
        Returns the imported trigger table of a name and tag, as plain JSON.
    site
        The settings: how large merged files are, and where the storage places are.

    Raises
    ------
    UsageError
        Whatever would make it fail later: an unknown table, a function that workers can't import, no input.
    """
    from grid.rootio.format.blocks import Compression
    from grid.rootio.keep import parse as parse_rules

    check_production(production.name)
    name, files = _inputs(production, site)
    command, code = _process(production)
    conditions = _conditions(production.conditions) if production.conditions is not None else b""
    parse_rules(_words(production.keep))
    if production.compression is not None:
        Compression.parse(production.compression)
    recipe = Recipe(
        inputs=str(name),
        files=_digest(files),
        function=code.function,
        script=code.digest,
        module=code.module,
        command=command,
        conditions=hashlib.sha256(conditions).hexdigest() if conditions else "",
        table=_table(production.split, find_table),
        merge=_merge(production.merge, site.merge.target),
        identity=_branches("identity", production.identity, least=1),
        tree=_branches("tree", production.tree),
        keep=_words(production.keep),
        on_refused=_choice("on_refused", production.on_refused, ("refuse", "drop")),
        compression=production.compression or "",
        format=_choice("format", production.format or "", ("", "ttree")),
        release=production.release or "",
    )
    return {
        "name": production.name,
        "scope": production.scope or name.scope,
        "recipe": recipe.to_json(),
        "files": files,
        "script": code.source.decode() if code.source else None,
        "conditions": conditions.decode() if conditions else None,
    }


def named_files(patterns: Iterable[str | Path], places: Mapping[str, str]) -> list[dict[str, str]]:
    """Return ``[{"name": …, "url": …}]`` for what :func:`grid.storage.find.find_files` finds."""
    return [{"name": name, "url": url} for url, name in declared_files(find_files(patterns, places)).items()]


def _inputs(production: Production, site: Site) -> tuple[Name, list[dict[str, str]]]:
    """Return the input dataset, and its files where the script names files."""
    given = production.input
    if isinstance(given, str) and ":" in given and "/" not in given and not Path(given).exists():
        return Name.parse(given), []
    patterns: Sequence[str | Path] = [given] if isinstance(given, (str, Path)) else list(given)
    if not patterns:
        raise UsageError("the production has no input", where=production.name, todo="name a dataset or files")
    # The production's name before a file's: another production over the same files looks into them anew.
    files = [
        {**one, "name": f"{production.name}--{one['name']}"}
        for one in named_files(patterns, site.storage.urls())
    ]
    return Name(production.scope or "user", f"{production.name}.input"), files


def _process(production: Production) -> tuple[tuple[str, ...], UserCode]:
    process = production.process
    if process is None:
        return (), UserCode("")
    if not isinstance(process, Command):
        return (), describe(process)
    if tuple(_words(production.identity)) == ("entry",):
        raise UsageError(
            "a program's events can only be told by branches that identify them",
            where=f"{production.name}: identity='entry'",
            todo="name such branches",
        )
    words = process.words
    # A path that is meant from here must mean the same on a worker.
    return ((str(Path(words[0]).absolute()) if "/" in words[0] else words[0]), *words[1:]), UserCode("")


def _conditions(path: str | Path) -> bytes:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise MissingFile(
            f"the constants can't be read: {error.strerror}", where=str(path), todo="check conditions="
        ) from error
    read_conditions(content, where=str(path))
    return content


def _table(split: str | TriggerTable | None, find_table: FindTable) -> dict[str, Any] | None:
    if split is None:
        return None
    if isinstance(split, TriggerTable):
        return split.to_json()
    name, slash, tag = split.rpartition("/")
    if not slash or not tag.isdigit():
        raise UsageError(
            "a trigger table is named NAME/TAG", where=f"split={split!r}", todo="see 'grid trigger list'"
        )
    return find_table(name, int(tag))


def _merge(wanted: str | int | None, target: int) -> int:
    if wanted is None:
        return 0
    size = target if wanted == SITE else parse_bytes(wanted)
    if size < 1:
        raise UsageError(
            "a merged file can't be that small", where=f"merge={wanted!r}", todo="None merges nothing"
        )
    return size


def _words(value: str | Sequence[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _branches(key: str, value: str | Sequence[str], *, least: int = 0) -> tuple[str, ...]:
    names = _words(value)
    if len(names) < least or not all(names) or len(set(names)) < len(names):
        raise UsageError(
            f"{names!r} names nothing, or the same thing twice", where=key, todo="name each once"
        )
    return names


def _choice(key: str, value: str, allowed: tuple[str, ...]) -> str:
    if value not in allowed:
        raise UsageError(
            f"{value!r} is not one of {', '.join(map(repr, allowed))}", where=key, todo="choose one of them"
        )
    return value


def _digest(files: list[dict[str, str]]) -> str:
    return hashlib.sha256(canonical(files)).hexdigest() if files else ""
