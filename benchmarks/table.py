"""Turn what pytest-benchmark measured into tables of ratios: ``python -m benchmarks.table MEASURED.json OUT.md``.

A benchmark that compares has a parameter ``way``, whose value is ours (``kernels`` or ``ours``) or the name of a peer.
``extra_info`` may hold how much one call does: ``bytes``, ``events``, ``files``, ``jobs`` or ``attempts``;
or ``of``, in words, how large the thing is that is asked.

One that holds a ``race`` (:mod:`benchmarks.race`) gets a line for each way in a table of its own kind.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

OURS = ("kernels", "ours")
AMOUNTS = ("bytes", "events", "files", "jobs", "attempts")


def main(measured: Path, out: Path) -> None:
    """Write the table, and print it."""
    text = table(json.loads(measured.read_text("utf-8")))
    out.write_text(text, "utf-8")
    print(text)


def table(measured: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    machine = measured["machine_info"]
    lines = [
        f"Python {machine['python_version']}, {machine['cpu'].get('brand_raw', machine['machine'])}, "
        f"{machine['cpu'].get('count', '?')} cores.",
        "",
    ]
    races = [one for one in measured["benchmarks"] if "race" in one["extra_info"]]
    if calls := [one for one in measured["benchmarks"] if one not in races]:
        lines += table_of_calls(calls)
    for name in dict.fromkeys(title(one) for one in races):
        lines += table_of_races(name, [one for one in races if title(one) == name])
    return "\n".join(lines)


def table_of_calls(benchmarks: list[dict[str, Any]]) -> list[str]:
    """Return a table of what was timed one by one; above 1 the ratio says that we are faster than the peer."""
    lines = [
        "The shortest round of each. A ratio above 1 says that we are faster than the peer.",
        "",
        "| what | ours | rate | against | ratio |",
        "| --- | ---: | ---: | --- | ---: |",
    ]
    for what, ways in by_subject(benchmarks).items():
        mine = next((ways[name] for name in OURS if name in ways), None)
        if mine is None:
            lines += [row(f"{what} {way}".strip(), one, "", "") for way, one in ways.items()]
            continue
        peers = {way: one for way, one in ways.items() if one is not mine}
        if not peers:
            lines.append(row(what, mine, "", ""))
        lines += [row(what, mine, way, f"{shortest(one) / shortest(mine):.2f}") for way, one in peers.items()]
    return [*lines, ""]


def table_of_races(name: str, benchmarks: list[dict[str, Any]]) -> list[str]:
    """Return a table of ways that were run in turn; below 1 a ratio says that the way is faster than the other."""
    against = list(dict.fromkeys(way for one in benchmarks for way in one["extra_info"]["against"]))
    lines = [
        f"### {name}",
        "",
        "Each a command of its own, in turn; medians. What waits for the disk is told apart, and not in the ratios: "
        "below 1, the way is faster than the other.",
        "",
        "".join(f"| {head} " for head in ["of", "way", "time", "for the disk", *against, "peak"]) + "|",
        "| --- | --- |" + " ---: |" * (3 + len(against)),
    ]
    for one in benchmarks:
        race = one["extra_info"]["race"]
        subject = f"{' '.join(map(str, (one['params'] or {}).values()))}, {one['extra_info']['bytes'] / 1e6:,.0f} MB"
        for way, rounds in race.items():
            ratios = [
                ratio(rounds, race[other]) if other in race and other != way else "" for other in against
            ]
            waited = median(turn["waited"] for turn in rounds)
            cells = [
                subject.removeprefix(", "),
                way,
                duration(median(turn["seconds"] for turn in rounds)),
                duration(waited) if waited else "",
                *ratios,
                f"{median(turn['peak'] for turn in rounds) / 1e6:,.0f} MB",
            ]
            lines.append("".join(f"| {cell} " for cell in cells) + "|")
    return [*lines, ""]


def ratio(rounds: list[dict[str, float]], others: list[dict[str, float]]) -> str:
    """Return the median ratio of two ways' times in the same turn, without what waited for the disk."""
    pairs = zip(rounds, others, strict=True)
    return f"{median((a['seconds'] - a['waited']) / (b['seconds'] - b['waited']) for a, b in pairs):.2f}"


def title(one: dict[str, Any]) -> str:
    """Return what a benchmark measures, in words."""
    return str(one["name"]).split("[")[0].removeprefix("test_").replace("_", " ")


def by_subject(benchmarks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Group measurements that differ only in their way."""
    subjects: dict[str, dict[str, Any]] = defaultdict(dict)
    for one in benchmarks:
        params = dict(one["params"] or {})
        way = str(params.pop("way", ""))
        name = title(one)
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
