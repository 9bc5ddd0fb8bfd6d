"""Reconstruct dimuons, split by trigger bit into three streams, merge each to files of about 1.5 MB.

    grid run examples/dimuons.py

The input is the sample that `make demo` makes (see examples/demo.py), or any folder of NanoAOD-like files that
$DIMUON_INPUT names.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from grid import Production
from grid.trigger import TriggerTable


def reconstruct(events: Any, conditions: Any) -> Any:
    """Add the invariant mass of the two leading muons of opposite charge, 0 where there are none."""
    import awkward as ak
    import numpy as np

    muons = ak.zip({name: events[f"Muon_{name}"] for name in ("pt", "eta", "phi", "charge")})
    one, two = ak.unzip(ak.combinations(muons, 2))
    mass = np.sqrt(2 * one.pt * two.pt * (np.cosh(one.eta - two.eta) - np.cos(one.phi - two.phi)))
    mass = mass[one.charge != two.charge] * conditions["muon_scale"]
    events["Dimuon_mass"] = ak.values_astype(ak.fill_none(ak.firsts(mass), 0.0), np.float32)
    return events


production = Production(
    name="dimuons",
    input=os.environ.get("DIMUON_INPUT", "demo-data/sample") + "/*.root",
    process=reconstruct,
    conditions=Path(__file__).with_name("dimuons.toml"),
    split=TriggerTable(
        "DEMO",
        1,
        {
            "MUON": ["HLT_Mu*", "HLT_IsoMu*", "HLT_DoubleMu*"],
            "JETMET": ["HLT_PFJet*", "HLT_PFMET*"],
            "ZEROBIAS": ["HLT_ZeroBias_v*"],
        },
        prescales={"HLT_PFJet80_v*": 5},
    ),
    merge="1.5 MB",
    scope="demo",
)
