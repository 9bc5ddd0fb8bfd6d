"""`grid ls, get, links, audit, status, log` of a home where a production is complete and no farm runs."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import xxhash

from tests.grid.cli.conftest import STREAMS
from tests.grid.house import House, changed, expected_streams, flip, identities, tree_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.farm


def test_the_report_of_the_run(finished: tuple[House, str]) -> None:
    house, out = finished
    assert out.startswith("production pass1: complete\n")
    assert "dropped by code" in out
    assert f"grid --home {house.home} audit" in out
    facts = house("status", "pass1", "--json").json["report"]
    assert facts["events_in"] == 1200
    booked = facts["events_nowhere"] + facts["events_dropped"]
    assert 0 < booked < 1200


def test_status(done: House) -> None:
    answer = done("status", "--json").json
    assert answer["running"] == []
    (one,) = answer["productions"]
    assert (one["production"], one["state"], one["held"]) == ("pass1", "complete", 0)
    assert one["done"] == one["total"] == {"intake": 3, "process": 3, "merge": 2}
    assert done("status", "--json").json == answer
    assert "pass1" in done("status").out
    assert "overlap" in done("status", "pass1").out


def test_names_that_are_nearly_right(done: House) -> None:
    assert "pass1" in done("status", "pas1", code=2).err
    assert "pass1" in done("audit", "pass2", code=2).err
    assert "cdf:pass1.MUON" in done("ls", "cdf:pass1.MUN", code=2).err
    assert "scope:name" in done("ls", "pass1.MUON", code=2).err
    done("get", "cdf:none", code=2)
    done("links", "cdf:none", "x", code=2)
    done("log", "4711", code=2)
    done("retry", "4711", "--dry-run", code=2)
    done("retry", "none", "--dry-run", code=2)


def test_ls(done: House, paths: list[Path]) -> None:
    sets = {one["dataset"]: one for one in done("ls", "--json").json}
    assert sets["cdf:pass1.input"]["events"] == 1200
    assert sets["cdf:pass1.input"]["files"] == 3
    assert sets["cdf:pass1.MUON"]["files"] == 1
    assert sets["cdf:pass1.MUON.unmerged"]["files"] == 3
    (file,) = done.files("cdf:pass1.MUON")
    (path,) = done.paths("cdf:pass1.MUON")
    content = path.read_bytes()
    assert file["bytes"] == len(content)
    assert file["xxh3"] == xxhash.xxh3_128_hexdigest(content)
    assert file["locality"] == "DISK"
    assert file["events"] == len(identities([path]))
    assert path.is_relative_to(done.home), "everything it writes is in its home"
    out = done("ls", "cdf:pass1.MUON").out
    assert file["name"] in out
    assert file["adler32"] in out
    (one,) = done("ls", file["name"], "--json").json
    assert one == file
    assert "cdf:pass1.JET" in done("ls").out


def test_the_streams_hold_what_was_to_be_in_them(done: House, paths: list[Path]) -> None:
    import uproot

    sets, _, _ = expected_streams(paths, STREAMS)
    kept: set[tuple[int, ...]] = set()
    for path in paths:
        with uproot.open(path) as file:
            met = file["Events"]["MET_pt"].array(library="np") > 20
        kept |= {one for one, good in zip(identities([path]), met, strict=True) if good}
    for stream, wanted in sets.items():
        found = identities(done.paths(f"cdf:pass1.{stream}"))
        assert len(found) == len(set(found))
        assert set(found) == wanted & kept


def test_get_copies_under_plain_names(done: House, tmp_path: Path) -> None:
    (file,) = done.files("cdf:pass1.JET")
    plain = file["name"].partition(":")[2]
    assert plain in done("get", "cdf:pass1.JET", tmp_path / "new", "--dry-run").out
    assert not (tmp_path / "new").exists()
    assert done("get", "cdf:pass1.JET", tmp_path / "new").out == f"{tmp_path / 'new' / plain}\n"
    copy = (tmp_path / "new" / plain).read_bytes()
    assert xxhash.xxh3_128_hexdigest(copy) == file["xxh3"]
    assert str(tmp_path / "new" / plain) in done("get", "cdf:pass1.JET", tmp_path / "new", code=8).err
    done("get", file["name"], tmp_path / "one")
    assert (tmp_path / "one" / plain).read_bytes() == copy


def test_get_refuses_a_damaged_copy(done: House, tmp_path: Path) -> None:
    (path,) = done.paths("cdf:pass1.JET")
    with changed(path, flip):
        answer = done("get", "cdf:pass1.JET", tmp_path, code=3)
        assert path.name in answer.err
        assert "adler32" in answer.err
        assert not list(tmp_path.iterdir())
    path.rename(path.with_suffix(".away"))
    try:
        done("get", "cdf:pass1.JET", tmp_path, code=3)
    finally:
        path.with_suffix(".away").rename(path)
    assert not list(tmp_path.iterdir())


def test_links(done: House, tmp_path: Path) -> None:
    folder = tmp_path / "muons"
    (file,) = done.files("cdf:pass1.MUON")
    (path,) = done.paths("cdf:pass1.MUON")
    link = folder / file["name"].partition(":")[2]
    assert f"{link} -> {path}" in done("links", "cdf:pass1.MUON", folder, "--dry-run").out
    assert not folder.exists()
    assert "1 links made" in done("links", "cdf:pass1.MUON", folder).out
    assert link.readlink() == path
    assert identities([link]) == identities([path])
    assert "0 links made" in done("links", "cdf:pass1.MUON", folder).out
    link.unlink()
    link.write_text("mine")
    assert str(link) in done("links", "cdf:pass1.MUON", folder, code=8).err
    assert link.read_text() == "mine"


def test_audit(done: House) -> None:
    answer = done("audit", "pass1", "--json").json
    assert answer["findings"] == []
    assert not answer["deep"]
    (one,) = answer["audits"]
    assert one["events_in"] == one["booked"] == 1200
    assert {s["stream"] for s in one["streams"]} == set(STREAMS)
    assert all(s["booked"] == s["written"] == s["merged"] for s in one["streams"])
    assert "verdict: the books close (by adding, no file opened)" in done("audit").out
    assert "verdict: the books close (every file read again)" in done("audit", "--deep", "-q").out
    assert done("audit", "pass1", "--deep", "--json").json["findings"] == []


@pytest.mark.parametrize("dataset", ["cdf:pass1.MUON", "cdf:pass1.JET.unmerged"])
@pytest.mark.parametrize("damage", ["one bit", "cut", "gone", "emptied"])
def test_deep_audit_names_the_file_that_changed(done: House, dataset: str, damage: str) -> None:
    path = done.paths(dataset)[-1]

    def hurt(content: bytearray) -> None:
        if damage == "one bit":
            flip(content)
        elif damage == "cut":
            del content[len(content) // 2 :]
        else:
            content.clear()

    with changed(path, hurt):
        if damage == "gone":
            path.unlink()
        done("audit", "pass1")
        answer = done("audit", "pass1", "--deep", "--json", code=6)
        (finding,) = answer.json["findings"]
        assert path.name in finding
    done("audit", "pass1", "--deep")


def test_deep_audit_finds_an_input_that_changed(done: House, paths: list[Path], tmp_path: Path) -> None:
    with changed(paths[1], flip):
        answer = done("audit", "--deep", code=6)
        assert paths[1].name in answer.out


def test_audit_of_books_that_were_changed(done: House) -> None:
    import sqlite3

    def book(events: int) -> None:
        with sqlite3.connect(done.home / "catalog.sqlite") as db:
            one = db.execute("select file, mask, dropped from book order by file, mask, dropped").fetchone()
            db.execute(
                "update book set events = events + ? where (file, mask, dropped) = (?, ?, ?)", (events, *one)
            )
        db.close()

    book(1)
    try:
        answer = done("audit", "pass1", code=6)
        assert "sample_000" in answer.out
    finally:
        book(-1)
    done("audit")


def test_log_of_a_job(done: House) -> None:
    answer = done("log", "1", "--json").json
    assert answer["job"]["kind"] == "intake"
    (attempt,) = answer["attempts"]
    assert attempt["outcome"] == "done"
    assert attempt["cpu_s"] > 0
    assert attempt["peak_rss"] > 10_000_000
    assert attempt["host"]
    assert "attempt 1 on" in done("log", "1").out
    assert "supervisor.log" in done("log", "--json").json


def test_reading_verbs_change_nothing(done: House, tmp_path: Path) -> None:
    def content() -> dict[str, str | None]:
        return {
            name: None if data is None else hashlib.sha256(data).hexdigest()
            for name, data in tree_of(done.home).items()
            if not name.endswith(("-wal", "-shm"))
        }

    before = content()
    for words in (
        ["status"], ["status", "pass1"], ["ls"], ["ls", "cdf:pass1.MUON"], ["audit"], ["log"], ["log", "2"],
        ["trigger", "list"], ["trigger", "show", "PHYSICS/3"], ["config", "show"], ["doctor"],
    ):  # fmt: skip
        done(*words, "--json")
    for dry in (
        ["retry", "pass1"], ["up"], ["down"], ["init"], ["get", "cdf:pass1.MUON", tmp_path / "x"],
        ["links", "cdf:pass1.MUON", tmp_path / "x"],
    ):  # fmt: skip
        done(*dry, "--dry-run")
    assert content() == before
    assert not (tmp_path / "x").exists()
