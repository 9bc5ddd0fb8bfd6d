"""Intake, comparison and reading again: what is said of files that others wrote, or changed later."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest
import xxhash

from grid import Production
from grid.mock.sample import MENU
from grid.steps.reread import reread
from sitecfg.errors import ClosureError, CorruptFile, MissingFile, MissingIdentity, NotRootFile, TruncatedFile
from tests.grid.house import changed, closed_to_me, flip, grid, identities

if TYPE_CHECKING:
    from pathlib import Path

    from tests.grid.steps.bench import Bench, Task


def intake_of(bench: Bench, *paths: Path, **more: Any) -> Task:
    bench.submit(Production(name="p", input=[*paths], scope="cdf", **more))
    return bench.next("intake")


def test_the_facts_of_a_file(bench: Bench, inputs: list[Path]) -> None:
    task = intake_of(bench, inputs[0])
    facts = task.run()["file"]
    assert facts["events"] == 300
    assert facts["xxh3"] == xxhash.xxh3_128_hexdigest(inputs[0].read_bytes())
    assert {tuple(one[:2]) for one in facts["sections"]} == {one[:2] for one in identities(inputs[:1])}
    assert set(facts["menu"]) == set(MENU)
    assert facts["duplicates"] == []
    assert bench.commit(task, task.run()) == "done"


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda path: path.unlink(), MissingFile),
        (lambda path: path.write_bytes(b"text"), NotRootFile),
        (lambda path: path.write_bytes(path.read_bytes()[:-1000]), TruncatedFile),
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), TruncatedFile),
    ],
    ids=["gone", "text", "cut at the end", "cut at the beginning"],
)
def test_files_that_are_broken(
    bench: Bench, inputs: list[Path], tmp_path: Path, damage: Any, error: type[Exception]
) -> None:
    raw = tmp_path / "raw.root"
    shutil.copy(inputs[0], raw)
    task = intake_of(bench, raw)
    damage(raw)
    with pytest.raises(error, match=r"raw\.root"):
        task.run()


def test_a_file_that_may_not_be_read(bench: Bench, inputs: list[Path], tmp_path: Path) -> None:
    raw = tmp_path / "raw.root"
    shutil.copy(inputs[0], raw)
    task = intake_of(bench, raw)
    with closed_to_me(raw), pytest.raises(MissingFile, match="Permission denied"):
        task.run()


def test_flipped_bits_are_found(bench: Bench, inputs: list[Path], tmp_path: Path) -> None:
    """zlib carries a checksum in each block; what lies between the blocks is mostly told by its neighbours."""
    grid("split", inputs[0], "-o", tmp_path, "--compression", "zlib:1")
    raw = tmp_path / f"{inputs[0].stem}.all.root"
    task = intake_of(bench, raw)
    (told,) = grid("verify", raw, "--json").json
    whole = raw.read_bytes()
    where = range(len(whole) // 10, len(whole) * 9 // 10, len(whole) // 40)
    told_of, missed = [], 0
    for byte in where:
        broken = bytearray(whole)
        broken[byte] ^= 4
        raw.chmod(0o644)
        raw.write_bytes(broken)
        try:
            task.run()
        except CorruptFile as error:
            told_of.append(str(error))
        else:
            missed += 1
    assert all(raw.name in one for one in told_of)
    assert missed / len(where) <= 0.05 + told["bytes_not_covered"] / len(whole)


def test_no_identity(bench: Bench, real_data: Path) -> None:
    task = intake_of(bench, real_data / "Tuple_1.root")
    with pytest.raises(MissingIdentity, match=r"Tuple_1\.root"):
        task.run()


def test_events_that_are_there_twice_hold_the_file(bench: Bench, inputs: list[Path], tmp_path: Path) -> None:
    grid("merge", tmp_path / "twice.root", inputs[0], inputs[0], code=4)
    task = intake_of(bench, tmp_path / "twice.root")
    result = task.run()
    run, section, event = identities(inputs[:1])[0]
    assert f"run {run}, luminosityBlock {section}, event {event}" in result["file"]["duplicates"][0]
    assert bench.commit(task, result) == "held"
    assert bench.standing("p") == "stalled"


def test_the_bytes_of_a_file_under_a_second_name(bench: Bench, inputs: list[Path], tmp_path: Path) -> None:
    shutil.copy(inputs[0], tmp_path / "copy.root")
    first = intake_of(bench, inputs[0], tmp_path / "copy.root")
    second = bench.next("intake")
    assert bench.commit(first, first.run()) == "done"
    assert bench.commit(second, second.run()) == "held"


def test_comparing_names_event_and_files(bench: Bench, inputs: list[Path], tmp_path: Path) -> None:
    grid("merge", tmp_path / "both.root", *inputs)
    bench.submit(Production(name="p", input=[*inputs, tmp_path / "both.root"], scope="cdf"))
    bench.drain(["intake"])
    task = bench.next("compare")
    assert bench.task("process") is None, "no job for files that may hold the same events"
    duplicates = task.run()["duplicates"]
    assert duplicates[-1].endswith("more")
    assert "both.root" in duplicates[0]
    assert "sample_000" in duplicates[0]
    bench.commit(task, {"duplicates": duplicates})
    assert bench.standing("p") == "stalled"
    assert bench.task() is None


def test_comparing_in_little_memory(bench: Bench, inputs: list[Path], tmp_path: Path) -> None:
    grid("merge", tmp_path / "both.root", *inputs)
    bench.submit(Production(name="p", input=[*inputs, tmp_path / "both.root"], scope="cdf"))
    bench.drain(["intake"])
    task = bench.next("compare")
    answers = []
    for memory in (500, 1 << 30):
        task.spec["attempt"]["memory"] = memory
        found = task.run()["duplicates"]
        answers.append((len(found), found[-1]))
    assert answers[0] == answers[1]


def known(bench: Bench, path: Path) -> dict[str, Any]:
    task = intake_of(bench, path)
    return {"name": "cdf:raw.root", "urls": [path.as_uri()], **task.run()["file"]}


def test_reading_again_finds_what_changed(bench: Bench, inputs: list[Path], tmp_path: Path) -> None:
    def again(told: dict[str, Any]) -> list[Any]:
        return list(
            reread(
                told, identity=("run", "luminosityBlock", "event"), tree=(), scratch=tmp_path, memory=10_000
            )
        )

    told = known(bench, inputs[0])
    assert again(told) == []
    with changed(inputs[0], flip):
        (error,) = again(told)
        assert isinstance(error, CorruptFile)
        assert inputs[0].name in str(error)
    for key, value in (("events", 299), ("fingerprint", "0" * 32), ("content", "0" * 32)):
        (error,) = again({**told, key: value})
        assert isinstance(error, ClosureError)
        assert key in str(error)
        assert inputs[0].name in str(error)
    (error,) = again({**told, "urls": []})
    assert isinstance(error, CorruptFile)
    good, bad = inputs[0].as_uri(), (tmp_path / "gone.root").as_uri()
    (error,) = again({**told, "urls": [good, bad]})
    assert isinstance(error, MissingFile), "each copy is looked at"
