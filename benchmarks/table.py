"""Turn what pytest-benchmark measured into one table of ratios: ``python -m benchmarks.table MEASURED.json OUT.md``.

A benchmark that compares has a parameter ``way``, whose value is ours (``kernels`` or ``ours``) or the name of a peer.
``extra_info`` may hold how much one call does: ``bytes``, ``events``, ``files``, ``jobs`` or ``attempts``;
or ``of``, in words, how large the thing is that is asked.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

OURS = ("kernels", "ours")
AMOUNTS = ("bytes", "events", "files", "jobs", "attempts")


def main(measured: Path, out: Path) -> None:
    """Write the table, and print it."""
    text = table(json.loads(measured.read_text("utf-8")))
    out.write_text(text, "utf-8")
    print(text)


def table(measured: dict[str, Any]) -> str:
    """Return the table as Markdown; above 1 the ratio says that we are faster than the peer."""
    machine = measured["machine_info"]
    lines = [
        f"Python {machine['python_version']}, {machine['cpu'].get('brand_raw', machine['machine'])}, "
        f"{machine['cpu'].get('count', '?')} cores; the shortest round of each. "
        "A ratio above 1 says that we are faster than the peer.",
        "",
        "| what | ours | rate | against | ratio |",
        "| --- | ---: | ---: | --- | ---: |",
    ]
    for what, ways in by_subject(measured["benchmarks"]).items():
        mine = next((ways[name] for name in OURS if name in ways), None)
        if mine is None:
            lines += [row(f"{what} {way}".strip(), one, "", "") for way, one in ways.items()]
            continue
        peers = {way: one for way, one in ways.items() if one is not mine}
        if not peers:
            lines.append(row(what, mine, "", ""))
        lines += [row(what, mine, way, f"{shortest(one) / shortest(mine):.2f}") for way, one in peers.items()]
    return "\n".join([*lines, ""])


def by_subject(benchmarks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Group measurements that differ only in their way."""
    subjects: dict[str, dict[str, Any]] = defaultdict(dict)
    for one in benchmarks:
        params = dict(one["params"] or {})
        way = str(params.pop("way", ""))
        name = one["name"].split("[")[0].removeprefix("test_").replace("_", " ")
        if "of" in one["extra_info"]:
            name += f" of {one['extra_info']['of']}"
        subject = " ".join([name, *(f"{key}={value}" for key, value in params.items())])
        subjects[subject][way] = one
    return subjects


def row(what: str, one: dict[str, Any], peer: str, ratio: str) -> str:
    """Return one line of the table."""
    return f"| {what} | {duration(shortest(one))} | {rate(one)} | {peer} | {ratio} |"


def shortest(one: dict[str, Any]) -> float:
    """Return the shortest round of a measurement, in seconds."""
    return float(one["stats"]["min"])


def rate(one: dict[str, Any]) -> str:
    """Return how much was done in a second."""
    done = {name: one["extra_info"][name] / shortest(one) for name in AMOUNTS if name in one["extra_info"]}
    return ", ".join(
        f"{value / 1e6:,.0f} MB/s" if name == "bytes" else f"{value:,.0f} {name}/s"
        for name, value in done.items()
    )


def duration(seconds: float) -> str:
    """Return a time for people."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
