"""The gateway's routes for people: trigger tables, datasets, productions. All may be repeated without harm."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, RootModel, TypeAdapter

from catalog import productions, triggers
from grid.farm import reception
from grid.farm.gateway.requests import Id  # noqa: TC001 -- pydantic reads annotations while it runs
from grid.farm.gateway.routing import get, in_thread, post
from grid.farm.operation import OPERATIONS
from grid.rootio.known_branches import DEFAULT_IDENTITY
from grid.steps.recipe import Recipe
from grid.steps.usercode import store
from grid.trigger import TriggerTable
from sitecfg.errors import UsageError
from sitecfg.names import Name
from sitecfg.points import reach

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from catalog.engine import Transaction
    from grid.farm.home import Home

__all__ = ["desk"]

#: The address of a file: with its scheme, and nothing in it that a line of text has not.
Url = Annotated[str, Field(max_length=4000, pattern=r"^[A-Za-z][A-Za-z0-9+.-]*:/[^\x00-\x1f\x7f]+$")]
_TAG: TypeAdapter[int] = TypeAdapter(Annotated[int, Field(ge=0, lt=1 << 31)])
_DIGEST = re.compile(r"[0-9a-f]{64}")


class _Body(BaseModel):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, strict=True)


class Table(RootModel[dict[str, Any]]):
    """A trigger table."""


class NamedFile(_Body):
    """A file, by its logical name (without scope) and its URL."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    url: Url


class Declare(_Body):
    """Make files known as a dataset."""

    dataset: str
    files: Annotated[list[NamedFile], Field(min_length=1)]
    identity: list[str] = list(DEFAULT_IDENTITY)
    tree: list[str] = []


class Submit(_Body):
    """Submit a production."""

    name: str
    scope: str
    recipe: dict[str, Any]
    files: list[NamedFile] = []
    script: str | None = None
    conditions: str | None = None


class Retry(_Body):
    """Free held jobs."""

    production: str | None = None
    file: str | None = None
    job: Id | None = None


class Pause(_Body):
    """Start nothing more of a production or a file."""

    what: str
    why: str = ""


class Resume(_Body):
    """Let it go on."""

    what: str


class Priority(_Body):
    """Put it before, or behind, other work."""

    what: str
    priority: Annotated[int, Field(ge=-1_000_000, le=1_000_000)]


class Cancel(_Body):
    """Give it up."""

    what: str
    why: str
    withdraw: bool = False


class Invalidate(_Body):
    """Take a file out of use, with all that was made from it."""

    what: str
    why: str
    file: Id | None = None


class DatasetState(_Body):
    """Open or close a dataset."""

    what: str
    state: Literal["open", "closed"]


def desk(home: Home) -> Sequence[BaseRoute]:
    """Return the routes; submitted scripts are stored in `home`."""

    def submit(request: Request, body: Submit) -> dict[str, Any]:
        recipe = _recipe(body)
        _keep(home, recipe, body)
        named = [(one.name, one.url) for one in body.files]
        return _write(request, lambda tx: reception.submit(tx, body.name, body.scope, recipe, named))

    return (
        post("/triggers", Table, in_thread(_import_table)),
        get("/triggers/{name}/{tag}", in_thread(_show_table)),
        post("/declare", Declare, in_thread(_declare)),
        post("/submit", Submit, in_thread(submit)),
        post("/retry", Retry, in_thread(_retry)),
        post("/pause", Pause, in_thread(_operate)),
        post("/resume", Resume, in_thread(_operate)),
        post("/priority", Priority, in_thread(_operate)),
        post("/cancel", Cancel, in_thread(_operate)),
        post("/invalidate", Invalidate, in_thread(_operate)),
        post("/dataset", DatasetState, in_thread(_operate)),
        get("/datasets/{name}", in_thread(_dataset)),
        get("/productions", in_thread(_productions)),
        get("/productions/{name}", in_thread(_progress)),
        get("/productions/{name}/report", in_thread(_report)),
    )


def _import_table(request: Request, body: Table) -> dict[str, Any]:
    table = TriggerTable.from_json(body.root)

    def work(tx: Transaction) -> dict[str, Any]:
        found = triggers.import_table(tx, table.name, table.tag, table.hash, table.to_json())
        return {"table": str(found), "hash": found.hash, "state": found.state}

    return _write(request, work)


def _show_table(request: Request) -> dict[str, Any]:
    name, tag = request.path_params["name"], _TAG.validate_python(request.path_params["tag"])
    return _read(request, lambda tx: dict(triggers.table(tx, name, tag).document))


def _declare(request: Request, body: Declare) -> dict[str, Any]:
    named = [(one.name, one.url) for one in body.files]
    return _write(
        request,
        lambda tx: reception.declare(
            tx, Name.parse(body.dataset), named, identity=body.identity, tree=body.tree
        ),
    )


def _retry(request: Request, body: Retry) -> dict[str, Any]:
    return _write(
        request,
        lambda tx: reception.retry(tx, production=body.production, file=body.file, job=body.job),
    )


def _operate(request: Request, body: BaseModel) -> dict[str, Any]:
    return _write(request, lambda tx: OPERATIONS[_call(request)](tx, **body.model_dump()))


def _dataset(request: Request) -> dict[str, Any]:
    return _read(request, lambda tx: reception.dataset(tx, Name.parse(request.path_params["name"])))


def _productions(request: Request) -> dict[str, Any]:
    return _read(
        request,
        lambda tx: {"productions": [reception.progress(tx, one.name) for one in productions.productions(tx)]},
    )


def _progress(request: Request) -> dict[str, Any]:
    return _read(request, lambda tx: reception.progress(tx, request.path_params["name"]))


def _report(request: Request) -> dict[str, Any]:
    return _read(request, lambda tx: reception.report(tx, request.path_params["name"]))


def _call(request: Request) -> str:
    return request.url.path.strip("/")


def _write(request: Request, work: Callable[[Transaction], dict[str, Any]]) -> dict[str, Any]:
    what = _call(request)

    def done(tx: Transaction) -> dict[str, Any]:
        answer = work(tx)
        reach(f"{what}.open")
        return answer

    answer: dict[str, Any] = request.app.state.ledger.run(done)
    reach(f"{what}.durable")
    return answer


def _read(request: Request, work: Callable[[Transaction], dict[str, Any]]) -> dict[str, Any]:
    with request.app.state.catalog.read() as tx:
        return work(tx)


def _recipe(body: Submit) -> Recipe:
    try:
        return Recipe.from_json(body.recipe)
    except (TypeError, KeyError) as error:
        raise UsageError(
            f"the recipe can't be read: {error}", where=body.name, todo="use the same release everywhere"
        ) from error


def _keep(home: Home, recipe: Recipe, body: Submit) -> None:
    """Store the script and the constants under the hashes that the recipe names."""
    for text, digest, suffix in (
        (body.script, recipe.script, ".py"),
        (body.conditions, recipe.conditions, ".conditions"),
    ):
        if digest and not _DIGEST.fullmatch(digest):
            raise UsageError("a part of the recipe is not named by its sha256", where=f"{body.name}{suffix}")
        if text is not None and store(home.scripts, text.encode(), suffix) != digest:
            raise UsageError("what was sent is not what the recipe names", where=f"{body.name}{suffix}")
        if text is None and digest and not (home.scripts / f"{digest}{suffix}").is_file():
            raise UsageError("a part of the recipe was not sent", where=f"{body.name}{suffix}")
