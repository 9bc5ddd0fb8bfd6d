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
