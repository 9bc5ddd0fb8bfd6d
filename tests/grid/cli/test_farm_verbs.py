"""`grid init, up, down, doctor, config`: a home and its farm."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.grid.house import SETTINGS, House, tree_of, until

if TYPE_CHECKING:
    from pathlib import Path


def test_init_makes_a_home_once(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    house("init", "--dry-run")
    assert not house.home.exists()
    house("init")
    (house.home / "grid.toml").write_text("[workers]\nnumber = 3\n")
    before = tree_of(house.home)
    house("init")
    assert tree_of(house.home).keys() == before.keys()
    assert (house.home / "grid.toml").read_text() == "[workers]\nnumber = 3\n"
    assert house("status", "--json").json == {"productions": [], "running": []}
    assert house("ls", "--json").json == []
    assert "books close" in house("audit").out


def test_init_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("mine")
    answer = House(tmp_path / "home")("init", code=None)
    assert answer.code in (2, 8)
    assert str(tmp_path / "home") in answer.err
    assert (tmp_path / "home").read_text() == "mine"


@pytest.mark.farm
def test_up_stays_until_down(tmp_path: Path) -> None:
    house = House(tmp_path / "home")
    house("init")
    (house.home / "grid.toml").write_text(SETTINGS)
    house("up", "--dry-run")
    assert "no farm" in house("down", "--dry-run").out
    assert "no farm" in house("down").out
    state = house("up", "--json").json
    assert all(child["pid"] for child in state["children"].values()), "it is up when all of it is"
    pids = [state["pid"], *(child["pid"] for child in state["children"].values())]
    assert len(pids) >= 6, "supervisor, gateway, scheduler, two workers, dispatcher"
    assert all(psutil.pid_exists(pid) for pid in pids)
    assert house("up", "--json").json["pid"] == state["pid"], "it runs already"
    assert str(state["pid"]) in house("up").out
    assert "would stop" in house("down", "--dry-run").out
    logs = house("log", "--json").json
    assert {"supervisor.log", "gateway.log"} <= set(logs)
    assert "== gateway.log" in house("log", "-n", "1").out
    assert house("down").out == "the farm is down\n"
    until(lambda: not any(psutil.pid_exists(pid) for pid in pids), 20)
    assert "no farm" in house("down").out


def test_doctor(tmp_path: Path) -> None:
    findings = House(tmp_path)("doctor", "--json").json
    assert {"verdict", "topic", "text", "todo"} == set(findings[0])
    assert not [one for one in findings if one["verdict"] == "fault"]
    assert "packages" in House(tmp_path)("doctor").out


def test_doctor_looks_into_the_catalog(tmp_path: Path) -> None:
    def verdict(code: int) -> tuple[str, str]:
        findings = house("doctor", "--json", code=code).json
        (found,) = [one for one in findings if one["topic"] == "catalog"]
        return found["verdict"], found["text"]

    house = House(tmp_path)
    assert verdict(0) == ("good", "there is none yet; the first production makes it")
    house("init")
    assert verdict(0)[0] == "good"
    whole = (tmp_path / "catalog.sqlite").read_bytes()
    (tmp_path / "catalog.sqlite").write_bytes(whole[:-8192] + bytes(8192))
    assert "damaged" in verdict(9)[1]
    (tmp_path / "catalog.sqlite").write_bytes(b"no database" * 1000)
    assert "not a database" in verdict(9)[1]


def test_doctor_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    answer = House(tmp_path)("doctor", tmp_path / "file" / "below", code=9)
    assert "file" in answer.err


def test_config_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = House(tmp_path)
    (tmp_path / "grid.toml").write_text("[workers]\nnumber = 5\n")
    monkeypatch.setenv("MDCGRID_WORKERS__SLOTS", "7")
    (tmp_path / "site.toml").write_text('name = "fnal"\n')
    monkeypatch.setenv("MDCGRID_SITE", str(tmp_path / "site.toml"))
    shown = house("config", "show", "--json").json
    assert shown["workers.number"]["value"] == 5
    assert shown["workers.number"]["origin"].endswith("grid.toml")
    assert shown["workers.slots"]["value"] == 7
    assert "MDCGRID_WORKERS__SLOTS" in shown["workers.slots"]["origin"]
    assert shown["name"]["value"] == "fnal"
    assert all(one["description"] for one in shown.values())
    assert set(house("config", "show", "lease", "--json").json) == {
        key for key in shown if key.startswith("lease")
    }
    assert "lease.seconds" in house("config", "show", "lease", "--describe").out


def test_config_show_hides_passwords(tmp_path: Path) -> None:
    (tmp_path / "grid.toml").write_text('[catalog]\nurl = "postgresql://me:sesame@host/db"\n')
    answer = House(tmp_path)("config", "show", "--json")
    assert "sesame" not in answer.out
    assert "host/db" in answer.out
    assert "sesame" not in House(tmp_path)("config", "show").out
    assert json.loads(answer.out)
