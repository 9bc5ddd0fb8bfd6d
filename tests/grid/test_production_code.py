"""User code in a production: what it may do, and the clear end of what it may not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import awkward as ak
import numpy as np
import psutil
import pytest

from grid import Command, Production
from tests.grid.house import House, identities, record, until
from tests.grid.test_production import STREAMS, events_of, rows

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.farm


GOOD_CODE = """
import awkward as ak
import numpy as np
from grid import Production

def reconstruct(events, conditions):
    events = events[events.MET_pt > conditions["cut"]["met"]]
    events["MET_pt"] = events.MET_pt * np.float32(conditions["scale"])
    events["dimuon"] = ak.num(events.Muon_pt) >= 2
    events["Jet_pt2"] = events.Jet_pt ** 2
    events["HT"] = ak.values_astype(ak.sum(events.Jet_pt, axis=1), np.float64)
    return events[[name for name in events.fields if name != "Muon_phi"]]

p = Production(
    name="reco", input={inputs!r}, process=reconstruct, conditions={conditions!r}, scope="prod",
    split=__import__("grid.trigger").trigger.TriggerTable("PHYSICS", 9, {streams!r}),
)
"""


def test_user_code_drops_changes_and_adds(house: House, tmp_path: Path, paths: list[Path]) -> None:
    constants = tmp_path / "gt.toml"
    constants.write_text("scale = 2.0\n[cut]\nmet = 25\n")
    text = GOOD_CODE.format(inputs=[str(one) for one in paths], conditions=str(constants), streams=STREAMS)
    (production,) = house.scripted(tmp_path, text)
    facts = house.run(production)
    assert facts["state"] == "complete"
    everything = events_of(paths)
    kept = everything[everything.MET_pt > 25]
    assert facts["events_dropped"] == len(everything) - len(kept) > 0
    in_any = np.zeros(len(kept), bool)
    for stream, names in STREAMS.items():
        flags = np.logical_or.reduce([ak.to_numpy(kept[name]) for name in names])
        in_any |= flags
        wanted, found = kept[flags], events_of(house.paths(f"prod:reco.{stream}"))
        assert set(ak.fields(found)) == set(ak.fields(wanted)) - {"Muon_phi"} | {
            "dimuon",
            "Jet_pt2",
            "HT",
        } | {name for name in ak.fields(found) if name.startswith("nJet_")}
        for name in set(ak.fields(wanted)) - {"MET_pt", "Muon_phi"}:
            assert found[name].to_list() == wanted[name].to_list(), name
        assert found.MET_pt.to_list() == (wanted.MET_pt * np.float32(2)).to_list()
        assert found.dimuon.to_list() == (ak.num(wanted.Muon_pt) >= 2).to_list()
        assert found.Jet_pt2.to_list() == (wanted.Jet_pt**2).to_list()
        assert np.allclose(found.HT, ak.sum(wanted.Jet_pt, axis=1))
    assert facts["events_nowhere"] == int((~in_any).sum())
    told = record(house.paths("prod:reco.MUON")[0])
    assert len(told["script"]) == 64
    assert len(told["conditions"]) == 64
    house("audit", "reco", "--deep")


def test_code_that_drops_everything(house: House, tmp_path: Path, paths: list[Path]) -> None:
    text = (
        "from grid import Production\n"
        "def nothing(events, conditions):\n    assert conditions is None\n    return events[:0]\n"
        f"p = Production(name='nothing', input={[str(one) for one in paths]!r}, process=nothing, scope='prod')\n"
    )
    (production,) = house.scripted(tmp_path, text)
    facts = house.run(production)
    assert (facts["state"], facts["events_dropped"]) == ("complete", 1200)
    (path,) = house.paths("prod:nothing.all")
    assert identities([path]) == []
    assert len(rows(path, "Runs")) == 3


BAD_CODE = """
import os
import sys
import awkward as ak
import numpy as np
from grid import Production

BAD_RUN = 300002

def there(events):
    return len(events) > 0 and events.run[0] == BAD_RUN

def repeats(events, conditions):
    return ak.concatenate([events, events[:2]]) if there(events) else events

def invents(events, conditions):
    if there(events):
        events["event"] = ak.where(events.event == 7, np.uint64(1_000_007), events.event)
    return events

def swaps_keys(events, conditions):
    if there(events):
        events["event"] = ak.to_numpy(events.event)[::-1].copy()
    return events

def turns(events, conditions):
    return events[::-1] if there(events) else events

def loses_keys(events, conditions):
    return events[["MET_pt", "nMuon"]] if there(events) else events

def raises(events, conditions):
    if there(events):
        raise ZeroDivisionError("thunder and lightning")
    return events

def returns_none(events, conditions):
    return None if there(events) else events

def returns_numbers(events, conditions):
    return events.MET_pt if there(events) else events

def returns_numpy(events, conditions):
    return np.zeros(len(events)) if there(events) else events

def returns_text(events, conditions):
    if there(events):
        events["word"] = ak.Array([{"a": {"b": 1}}] * len(events))
    return events

def misses_a_module(events, conditions):
    if there(events):
        import no_module_of_this_name
    return events

def leaves(events, conditions):
    if there(events):
        sys.exit(3)
    return events

def vanishes(events, conditions):
    if there(events):
        os._exit(11)
    return events

def crashes(events, conditions):
    if there(events):
        import ctypes
        ctypes.string_at(0)
    return events

def wrong_arguments(events):
    return events

def eats(events, conditions):
    if there(events):
        hoard = [np.ones(50_000_000) for _ in range(100)]
    return events

productions = [
    Production(name="bad-" + function.__name__.replace("_", "-"), input=INPUTS, process=function, scope="bad")
    for function in (
        repeats, invents, swaps_keys, turns, loses_keys, raises, returns_none, returns_numbers, returns_numpy,
        returns_text, misses_a_module, leaves, vanishes, crashes, wrong_arguments, eats,
    )
]
"""

#: What the report and the log of each must say.
CLEAR_ENDS = {
    "repeats": ["repeated", "event", "300002"],
    "invents": ["invented or re-keyed", "1000007"],
    "swaps-keys": ["invented or re-keyed", "300002"],
    "turns": ["reordered"],
    "loses-keys": ["run", "left out"],
    "raises": ["ZeroDivisionError", "thunder and lightning"],
    "returns-none": ["awkward array of events", "NoneType"],
    "returns-numbers": ["awkward array of events", "float32"],
    "returns-numpy": ["awkward array of events", "ndarray"],
    "returns-text": ["word"],
    "misses-a-module": ["no_module_of_this_name"],
    "leaves": ["SystemExit"],
    "vanishes": ["11", "sample_0001"],
    "crashes": ["SIGSEGV", "sample_0001"],
    "eats": ["memory", "sample_0001"],
}


@pytest.fixture(scope="module")
def bad_code(house: House, tmp_path_factory: pytest.TempPathFactory, paths: list[Path]) -> House:
    """Productions whose code makes trouble in one file of two; all at once."""
    text = BAD_CODE.replace("INPUTS", repr([str(path) for path in paths[:2]]))
    house.submit(*house.scripted(tmp_path_factory.mktemp("bad code"), text))
    return house


@pytest.mark.parametrize("name", CLEAR_ENDS)
def test_bad_code_has_a_clear_end_and_the_other_files_go_on(
    bad_code: House, name: str, paths: list[Path]
) -> None:
    facts = bad_code.watch(f"bad-{name}", 240)
    assert facts["state"] == "stalled"
    (held,) = facts["held"]
    log = bad_code("log", held["job"]).out
    for word in CLEAR_ENDS[name]:
        assert word in held["why"], held["why"]
        assert word in log
    assert "sample_0001" in log
    assert identities(bad_code.paths(f"bad:bad-{name}.all")) == identities(paths[:1])
    assert bad_code("audit", f"bad-{name}", "--json").json["findings"] == []


def test_code_that_takes_no_conditions(bad_code: House) -> None:
    facts = bad_code.watch("bad-wrong-arguments", 240)
    assert facts["state"] == "stalled"
    assert len(facts["held"]) == 2
    assert "TypeError" in facts["held"][0]["why"]


def test_the_log_shows_the_traceback_in_the_users_script(bad_code: House) -> None:
    facts = bad_code.watch("bad-raises", 240)
    log = bad_code("log", facts["held"][0]["job"]).out
    assert "in raises" in log
    assert 'raise ZeroDivisionError("thunder and lightning")' in log


def sleeping(mark: str) -> list[psutil.Process]:
    """Return the processes with a mark among their words, none of them the shell that starts them."""
    return [one for one in psutil.process_iter(["cmdline"]) if mark in (one.info["cmdline"] or [])]


def test_programs_that_are_not_python(house: House, tmp_path: Path, paths: list[Path]) -> None:
    copying = Production(name="copied", input=[*paths], process=Command("cp {input} {output}"), scope="prod")
    # It would sleep for ever, and so would what it started; a kill of the payload has to end all of them.
    mark = str(tmp_path / "started")
    line = f"sh -c 'echo begun; touch {mark}; sleep 7654 & sleep 7654' reco {{input}} {{output}}"
    hanging = Production(name="hanging", input=paths[:1], process=Command(line), scope="prod")
    house.submit(copying, hanging)
    until((tmp_path / "started").exists, 60)
    sleepers = until(lambda: len(found := sleeping("7654")) == 2 and found)
    house("cancel", "hanging", "--why", "it hangs")
    psutil.wait_procs(sleepers, timeout=60)
    assert not [one for one in sleepers if one.is_running()]
    assert house.watch("copied")["state"] == "complete"
    assert sorted(identities(house.paths("prod:copied.all"))) == sorted(identities(paths))


def test_a_script_that_workers_can_not_import(house: House, tmp_path: Path, paths: list[Path]) -> None:
    text = (
        "import os\nfrom grid import Production\n"
        "if os.environ.get('MDCGRID_PAYLOAD'):\n    import no_module_of_this_name\n"
        "def fine(events, conditions):\n    return events\n"
        f"p = Production(name='unimportable', input={str(paths[0])!r}, process=fine, scope='prod')\n"
    )
    (production,) = house.scripted(tmp_path, text)
    facts = house.run(production)
    assert facts["state"] == "stalled"
    assert "no_module_of_this_name" in facts["held"][0]["why"]


def test_connect_in_a_payload_is_told_about_the_guard(
    house: House, tmp_path: Path, paths: list[Path]
) -> None:
    text = (
        "import os\nfrom grid import Production, connect\n"
        "if os.environ.get('MDCGRID_PAYLOAD'):\n    connect()\n"
        "def fine(events, conditions):\n    return events\n"
        f"p = Production(name='unguarded', input={str(paths[0])!r}, process=fine, scope='prod')\n"
    )
    (production,) = house.scripted(tmp_path, text)
    facts = house.run(production)
    why = facts["held"][0]["why"]
    assert "__main__" in why
    assert "line 4: connect()" in why
