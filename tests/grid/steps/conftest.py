"""A bench to run steps on, and small files."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from catalog.engine import create
from grid import Production
from grid.mock.sample import make_sample
from grid.trigger import TriggerTable
from tests.grid.steps.bench import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STREAMS = {"MUON": ["HLT_Mu17_v3", "HLT_IsoMu24_v5"], "JET": ["HLT_PFJet80_v4"]}
TABLE = TriggerTable("PHYSICS", 1, STREAMS)


@pytest.fixture(scope="session")
def empty_catalog(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("catalog") / "catalog.sqlite"
    create(f"sqlite:///{path}")
    return path


@pytest.fixture
def bench(tmp_path: Path, empty_catalog: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "home", empty_catalog)
    yield made
    made.catalog.close()


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return [
        one.path
        for one in make_sample(tmp_path_factory.mktemp("inputs") / "raw", files=2, events=300, seed=3)
    ]


@pytest.fixture
def pass1(bench: Bench, inputs: list[Path]) -> Bench:
    """A production over two files whose intake is done."""
    bench.submit(Production(name="pass1", input=[*inputs], split=TABLE, scope="cdf"))
    bench.drain(["intake"])
    return bench


@pytest.fixture
def by_values(bench: Bench, inputs: list[Path]) -> Bench:
    """The same, with a rule that changes nothing, but for which events are read as values."""
    bench.submit(Production(name="pass1", input=[*inputs], split=TABLE, scope="cdf", keep=["keep *"]))
    bench.drain(["intake"])
    return bench
