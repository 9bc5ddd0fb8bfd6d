"""Whatever is killed in the middle, the production ends right: by itself, or after the same command again."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from catalog.engine import Catalog
from grid.cli.exit_codes import INTERRUPTED
from grid.farm.sweeper import Sweeper
from tests.grid.farm.conftest import processes_of
from tests.grid.house import until
from tests.grid.scene import PATIENCE_S, STREAMS, Scene
from tests.services.postgres import Postgres

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

pytestmark = pytest.mark.farm


def test_the_database_server(tmp_path: Path) -> None:
    server = Postgres(durable=True)
    try:
        scene = Scene(tmp_path, server.make())
        with scene.running() as child:
            scene.until_busy()
            server.kill()
            scene.open_gate()
            told = scene.house("status", code=7).err
            assert "the catalog's database does not answer" in told
            server.start()
            out, err = child.communicate(timeout=PATIENCE_S)
            assert child.returncode == 0, err + out
        scene.prove()
    finally:
        server.stop()


def test_the_catalog_is_lost_and_comes_back_older_than_the_files(scene: Scene, tmp_path: Path) -> None:
    kept = tmp_path / "kept.sqlite"
    with scene.running() as child:
        scene.until_busy()
        scene.house("catalog", "backup", kept)
        scene.finish(child)
    until(scene.nothing_runs, PATIENCE_S)
    before = set(scene.home.pool.rglob("*.root"))
    for path in scene.home.root.glob("catalog.sqlite*"):
        path.unlink()
    scene.house("catalog", "restore", kept)
    scene.house("catalog", "restore", kept, code=8)
    with Catalog.open(scene.catalog_url) as catalog:
        Sweeper(scene.home.pool, age_s=0.0).step(catalog)
    assert set(scene.home.pool.rglob("*.root")) == before, "the sweeper waits"
    dry = scene.house("catalog", "reconcile", "--dry-run", "--json").json
    found = scene.house("catalog", "reconcile", "--json").json
    assert found == dry
    # The two runs that were at it when the backup was taken might still commit, for all that the catalog knows.
    assert found["again"] == {"held-open": len(before) - 2 * len(STREAMS)}
    assert (found["unknown"], found["missing"]) == ({}, [])
    with scene.running() as child:
        scene.finish(child)
    scene.prove()
    assert "sound" in scene.house("catalog", "check").out
    assert not before & set(scene.home.pool.rglob("*.root")), "all of it was made again"


def test_one_process_of_the_farm_after_the_other(scene: Scene) -> None:
    with scene.running() as child:
        before = scene.until_busy()
        scene.until_in_the_code()
        for victim in ("worker-0", "dispatcher", "scheduler", "gateway", "worker-1", "zygote", "supervisor"):
            scene.kill(victim)
            assert child.poll() is None
        now = scene.until_busy()
        assert now != before
        out = scene.finish(child)
    assert "held-open: complete" in out
    scene.prove()
    report = scene.house("status", "held-open", "--json").json["report"]
    assert "payload" not in dict(report["failures"]), "nobody blames the user's code for a kill"


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGINT, id="SIGINT"),
        pytest.param(signal.SIGKILL, id="SIGKILL"),
        pytest.param(signal.SIGTERM, id="SIGTERM", marks=pytest.mark.slow),
    ],
)
def test_the_script(scene: Scene, how: signal.Signals) -> None:
    with scene.running() as child:
        scene.until_busy()
        scene.until_in_the_code()
        os.killpg(child.pid, how)
        _, err = child.communicate(timeout=PATIENCE_S)
    if how == signal.SIGINT:
        assert child.returncode == INTERRUPTED
        assert "the same command continues" in err
    assert "Traceback" not in err
    until(scene.nothing_runs, PATIENCE_S)
    assert scene.house("status", "--json").json["productions"][0]["state"] == "active"
    scene.open_gate()
    with scene.running() as child:
        scene.finish(child)
    scene.prove()


@pytest.mark.slow
def test_the_script_while_the_farm_stays_up(scene: Scene) -> None:
    scene.house("up")
    try:
        with scene.running() as child:
            scene.until_busy()
            os.killpg(child.pid, signal.SIGKILL)
        scene.open_gate()
        until(lambda: scene.house("status", "held-open", "--json").json["state"] == "complete", PATIENCE_S)
    finally:
        scene.house("down")
    scene.prove()


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["payloads", "all"])
def test_several_at_once(scene: Scene, victim: str) -> None:
    """What dies one by one is the matter of the crash points."""
    with scene.running() as child:
        before = scene.until_busy()
        scene.until_in_the_code()
        for one in processes_of(scene.home):
            with suppress(psutil.NoSuchProcess):  # it died with another one
                if one.pid != child.pid and (victim == "all" or str(scene.home.scratch) in one.cwd()):
                    one.kill()
        scene.until_busy(but=before)
        scene.finish(child)
    scene.prove()


@pytest.mark.slow
def test_again_and_again(scene: Scene) -> None:
    """The command is killed in each phase it gets to, and started again, until it is done."""
    scene.open_gate()
    ended: Any = None
    for attempt in range(40):
        with scene.running() as child:
            seen = len(list(scene.home.pool.rglob("*.root")))

            def moved(child: subprocess.Popen[str] = child, seen: int = seen) -> bool:
                return child.poll() is not None or len(list(scene.home.pool.rglob("*.root"))) > seen

            until(moved, PATIENCE_S)
            ended = child.poll()
            if ended is None:
                os.killpg(child.pid, signal.SIGKILL if attempt % 2 else signal.SIGINT)
                child.communicate(timeout=PATIENCE_S)
        until(scene.nothing_runs, PATIENCE_S)
        if ended is not None:
            break
    assert ended == 0
    scene.prove()
