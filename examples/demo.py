"""The demo behind `make demo`: a production from sample to audit, with a worker killed on the way.

Everything it makes lies in ./demo-data, which it may delete when it runs again.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
DATA = Path("demo-data").absolute()
HOME = DATA / "home"
MARK = DATA / ".made-by-the-mdcgrid-demo"
GRID = [str(Path(sys.executable).with_name("grid")), "--home", str(HOME)]


def main() -> int:
    """Run the demo; returns the exit code."""
    began = time.monotonic()
    prepare()
    script = HERE / "dimuons.py"
    environment = {**os.environ, "DIMUON_INPUT": str(DATA / "sample")}
    say(f"$ grid run {script.name}")
    with subprocess.Popen([*GRID, "run", str(script)], env=environment) as run:
        kill_a_worker(run)
    if run.returncode:
        return run.returncode
    say("$ grid audit --deep")
    audit = subprocess.run([*GRID, "audit", "--deep"], check=False)
    plots = plot()
    say(f"done in {time.monotonic() - began:.0f} s; everything lies in {DATA}")
    print(f"  plots      {'  '.join(plots) or 'none: matplotlib is not installed'}")
    print(f"  files      {' '.join(GRID)} ls demo:dimuons.MUON")
    print(f"  by name    {' '.join(GRID)} links demo:dimuons.MUON {DATA / 'muons'}")
    print(f"  try next   edit {script} and give the production another name;")
    print(f"             or, on the real CMS files:  {GRID[0]} run {script.with_name('streams.py')}")
    return audit.returncode


def say(text: str) -> None:
    """Print a headline."""
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def prepare() -> None:
    """Make the sample, in a folder that nobody else uses."""
    from grid.mock.sample import make_sample

    if DATA.exists():
        if not MARK.exists():
            sys.exit(f"{DATA} is not from an earlier demo: move it away, or run the demo elsewhere")
        subprocess.run([*GRID, "down"], check=True, stdout=subprocess.DEVNULL)
        shutil.rmtree(DATA)
    DATA.mkdir()
    MARK.touch()
    HOME.mkdir()
    (HOME / "grid.toml").write_text("[workers]\nslots = 1\n")
    files = make_sample(DATA / "sample", files=8, events=10_000)
    size = sum(file.path.stat().st_size for file in files)
    say(
        f"a sample of {sum(f.events for f in files):,} events with trigger bits:"
        f" {size / 1e6:.1f} MB in {len(files)} files"
    )


def kill_a_worker(run: subprocess.Popen[bytes]) -> None:
    """Wait until a worker has begun a process job, then kill -9 it."""
    while run.poll() is None:
        busy = busy_worker()
        if busy is not None:
            pid, name, job = busy
            os.kill(pid, signal.SIGKILL)
            say(f"kill -9 {pid}: {name} dies in the middle of job {job}")
            break
        time.sleep(0.05)
    run.wait()


def busy_worker() -> tuple[int, str, int] | None:
    """Return process id and name of a worker with a running process job, and the job."""
    from catalog import status
    from catalog.engine import Catalog
    from sitecfg.errors import GridError
    from sitecfg.load import load_site

    try:
        farm: dict[str, Any] = json.loads((HOME / "run" / "farm.json").read_text())
        with Catalog.open(load_site(HOME).site.catalog.url) as catalog, catalog.read() as tx:
            jobs = [(one, status.one_job(tx, one.job)) for one in status.running(tx)]
    except (OSError, ValueError, GridError):
        return None  # the farm is still starting
    pids = {child["name"]: child["pid"] for child in farm["children"].values()}
    for attempt, job in jobs:
        if job.kind == "process" and pids.get(attempt.worker):
            return pids[attempt.worker], attempt.worker, attempt.job
    return None


def plot() -> list[str]:
    """Draw the dimuon mass by stream, and who ran what when; returns the files."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        return []
    mpl.use("Agg")
    return [str(dimuon_mass()), str(attempts())]


def dimuon_mass() -> Path:
    """Draw the mass of the dimuons of each stream's merged files."""
    import matplotlib.pyplot as plt
    import uproot

    figure, axes = plt.subplots(figsize=(7, 4.5))
    for stream in ("MUON", "JETMET", "ZEROBIAS"):
        rows = json.loads(subprocess.check_output([*GRID, "ls", f"demo:dimuons.{stream}", "--json"]))
        tree = {row["urls"][0].removeprefix("file://"): "Events" for row in rows}
        mass = uproot.concatenate(tree, ["Dimuon_mass"], library="np")["Dimuon_mass"]
        axes.hist(mass, bins=60, range=(60, 120), histtype="step", label=f"{stream} ({len(mass):,} events)")
    axes.set(
        xlabel="dimuon mass (GeV)", ylabel="events / GeV", yscale="log", title="mock sample, merged streams"
    )
    axes.legend()
    return save(figure, "dimuon_mass.png")


def attempts() -> Path:
    """Draw every attempt as a bar, by worker; the one that was killed is red."""
    import matplotlib.pyplot as plt

    from catalog import status
    from catalog.engine import Catalog
    from sitecfg.load import load_site

    with Catalog.open(load_site(HOME).site.catalog.url) as catalog, catalog.read() as tx:
        jobs = status.jobs(tx)
        bars = [
            (job.kind, one) for job in jobs for one in status.attempts(tx, job.id) if one.ended is not None
        ]
    workers = sorted({one.worker for _, one in bars})
    first = min(one.started for _, one in bars)
    colours = {"intake": "tab:grey", "compare": "tab:purple", "process": "tab:blue", "merge": "tab:green"}
    figure, axes = plt.subplots(figsize=(9, 0.6 * len(workers) + 1.8))
    for kind, one in bars:
        axes.barh(
            workers.index(one.worker),
            (one.ended or one.started) - one.started,
            left=one.started - first,
            color=colours[kind] if one.outcome == "done" else "tab:red",
            edgecolor="white",
        )
    axes.set(
        xlabel="seconds", title="attempts by worker: " + ", ".join(f"{k} {c[4:]}" for k, c in colours.items())
    )
    axes.set_yticks(range(len(workers)), workers)
    return save(figure, "attempts.png")


def save(figure: Any, name: str) -> Path:
    """Write a figure beside the data."""
    path = DATA / "plots" / name
    path.parent.mkdir(exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    return path


if __name__ == "__main__":
    sys.exit(main())
