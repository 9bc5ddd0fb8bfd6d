from __future__ import annotations

import pytest

from grid.rootio.keep import kept, parse
from sitecfg.errors import UsageError

NAMES = ["run", "nMuon", "Muon_pt", "Muon_eta", "Photon_pt", "Photon_eta", "HLT_Mu17_v3"]


def choose(*rules: str) -> list[str]:
    stay = kept(parse(rules), NAMES)
    return [name for name in NAMES if name in stay]


def test_without_rules_all_stay() -> None:
    assert choose() == NAMES


def test_the_last_rule_that_matches_wins() -> None:
    assert choose("drop *", "keep Muon_*", "drop Muon_eta", "keep run") == ["run", "Muon_pt"]
    assert choose("drop Photon_*", "keep Photon_pt") == [name for name in NAMES if name != "Photon_eta"]
    assert choose("keep Photon_pt", "drop Photon_*") == [
        name for name in NAMES if not name.startswith("Photon")
    ]


def test_wildcards() -> None:
    assert choose("drop *", "keep *_pt") == ["Muon_pt", "Photon_pt"]
    assert choose("drop *", "keep ?Muon") == ["nMuon"]
    assert choose("drop *", "keep HLT_Mu[0-9]*") == ["HLT_Mu17_v3"]


def test_comments_and_empty_lines_are_no_rules() -> None:
    assert choose("# nothing of photons", "", "  drop   Photon_* ") == NAMES[:4] + NAMES[6:]


def test_a_rule_that_matches_nothing_is_an_error_with_near_names() -> None:
    with pytest.raises(UsageError, match=r'"drop Foton_\*" matches no branch.*Photon') as caught:
        choose("drop Foton_*")
    assert "Photon_pt" in caught.value.todo


def test_every_line_that_is_no_rule_is_named() -> None:
    with pytest.raises(UsageError, match=r"'remove x'.*'keep'.*'drop a b'"):
        parse(["remove x", "keep", "drop a b", "keep y"])
