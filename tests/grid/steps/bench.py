"""A catalog and a pool without a farm: jobs are planned, claimed and run right here, one after the other."""

from __future__ import annotations

import importlib
import json
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from catalog import productions, status, work
from catalog.engine import Catalog
from grid.farm import reception
from grid.farm.home import Home
from grid.farm.planner import Planner
from grid.steps.recipe import Recipe
from grid.steps.usercode import store
from grid.submission import prepare
from sitecfg.load import load_site

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from grid.production import Production


@dataclass(frozen=True)
class Task:
    """A job that was begun, and what its step is told."""

    lease: work.Lease
    kind: str
    spec: dict[str, Any]

    @property
    def pool(self) -> Path:
        from pathlib import Path

        return Path(self.spec["attempt"]["pool"])

    def run(self) -> dict[str, Any]:
        """Run the step; the answer is what would travel as JSON."""
        step = importlib.import_module(f"grid.steps.{self.kind}")
        answer: dict[str, Any] = json.loads(json.dumps(step.run(self.spec, lambda _done, _total: None)))
        return answer


def _no_table(name: str, tag: int) -> dict[str, Any]:
    raise AssertionError(f"{name}/{tag} was not imported")


class Bench:
    """What a farm does, by hand."""

    def __init__(self, folder: Path, empty_catalog: Path) -> None:
        self.home = Home(folder)
        self.home.prepare()
        shutil.copy(empty_catalog, self.home.catalog)
        self.catalog = Catalog.open(f"sqlite:///{self.home.catalog}")

    def submit(self, production: Production) -> None:
        body = prepare(production, _no_table, load_site(self.home.root).site)
        if body["script"] is not None:
            store(self.home.scripts, body["script"].encode(), ".py")
        if body["conditions"] is not None:
            store(self.home.scripts, body["conditions"].encode(), ".conditions")
        named = [(one["name"], one["url"]) for one in body["files"]]
        recipe = Recipe.from_json(body["recipe"])
        with self.catalog.write() as tx:
            reception.submit(tx, body["name"], body["scope"], recipe, named)

    def task(self, kind: str | None = None) -> Task | None:
        """Plan, then claim and begin the next job of a kind."""
        Planner(1000).step(self.catalog)
        kinds = None if kind is None else [kind]
        runner = str(uuid.uuid4())
        with self.catalog.write() as tx:
            claims = work.claim(tx, cell="bench", limit=1, lease_s=60, kinds=kinds)
            if not claims:
                return None
            lease = work.Lease(claims[0].job, claims[0].epoch, runner)
            begun = work.begin(tx, lease, host="here", worker="bench", lease_s=60)
        fields = ("urls", "bytes", "adler32", "xxh3", "events", "fingerprint", "content")
        spec = {
            **begun.spec,
            "production": begun.production,
            "key": begun.key,
            "inputs": [
                {"name": str(one), **{name: getattr(one, name) for name in fields}} for one in begun.inputs
            ],
            "attempt": {
                "job": lease.job,
                "epoch": lease.epoch,
                "runner": runner,
                "scratch": str(self.home.scratch),
                "pool": str(self.home.pool),
                "reserve": 0,
                "scripts": str(self.home.scripts),
                "memory": 20_000,
            },
        }
        return Task(lease, begun.kind, spec)

    def next(self, kind: str) -> Task:
        task = self.task(kind)
        assert task is not None, f"there is no {kind} job"
        return task

    def commit(self, task: Task, result: dict[str, Any]) -> str:
        with self.catalog.write() as tx:
            return work.commit(tx, task.lease, result).state

    def drain(self, kinds: Sequence[str] = ("intake", "compare", "process", "merge")) -> None:
        """Run and commit all jobs of some kinds."""
        for kind in kinds:
            while (task := self.task(kind)) is not None:
                self.commit(task, task.run())

    def state(self, job: int) -> str:
        with self.catalog.read() as tx:
            return status.one_job(tx, job).state

    def standing(self, name: str) -> str:
        Planner(1000).step(self.catalog)
        with self.catalog.read() as tx:
            return productions.get(tx, name).state

    def pool(self) -> list[Path]:
        """Every file in the pool, finished or not."""
        return sorted(path for path in self.home.pool.rglob("*") if path.is_file())
