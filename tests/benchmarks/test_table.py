"""The table of ratios says who was faster, and by how much."""

from __future__ import annotations

from typing import Any

from benchmarks.table import table


def measured(name: str, seconds: float, way: str = "", **extra: Any) -> dict[str, Any]:
    params = {"way": way} if way else None
    return {"name": name, "params": params, "stats": {"min": seconds}, "extra_info": extra}


def text(*benchmarks: dict[str, Any]) -> list[str]:
    machine = {"python_version": "3.11.7", "machine": "x86_64", "cpu": {"count": 2}}
    lines = table({"machine_info": machine, "benchmarks": list(benchmarks)}).splitlines()
    return [line for line in lines if line.startswith("| ")][2:]


def test_a_ratio_above_one_says_that_we_are_faster() -> None:
    (row,) = text(
        measured("test_pack_bits[numpy]", 0.004, "numpy", bytes=4_000_000),
        measured("test_pack_bits[kernels]", 0.002, "kernels", bytes=4_000_000),
    )
    assert row == "| pack bits | 2 ms | 2,000 MB/s | numpy | 2.00 |"


def test_each_peer_has_a_line() -> None:
    ways = {"zlib": 2.0, "ours": 1.0, "isal": 0.5}
    rows = text(*(measured(f"test_adler32[{way}]", seconds, way) for way, seconds in ways.items()))
    assert [row.split("|")[4].strip() + row.split("|")[5] for row in rows] == ["zlib 2.00 ", "isal 0.50 "]


def test_a_measurement_without_peers_has_no_ratio() -> None:
    (row,) = text(measured("test_claims", 0.5, jobs=1000))
    assert row == "| claims | 500 ms | 2,000 jobs/s |  |  |"


def test_a_question_has_a_size_and_no_rate() -> None:
    (row,) = text(measured("test_asking", 0.5, of="100 jobs"))
    assert row == "| asking of 100 jobs | 500 ms |  |  |  |"


def race(**ways: list[tuple[float, float, float]]) -> dict[str, Any]:
    """Return a race of which each turn is given as seconds, seconds for the disk, and peak bytes."""
    names = ("seconds", "waited", "peak")
    return {way: [dict(zip(names, turn, strict=True)) for turn in turns] for way, turns in ways.items()}


def test_a_race_has_a_line_for_each_way_and_ratios_of_turns_without_the_disk() -> None:
    ways = race(ours=[(2, 1, 5e6), (3, 0, 5e6), (9, 3, 6e6)], cat=[(1, 0, 1e6), (2, 0, 1e6), (2, 0, 1e6)])
    rows = text(measured("test_merge[nano]", 9, race=ways, against=["cat"], bytes=7_000_000))
    assert rows == [
        "| 7 MB | ours | 3 s | 1 s | 1.50 | 5 MB |",
        "| 7 MB | cat | 2 s |  |  | 1 MB |",
    ]
