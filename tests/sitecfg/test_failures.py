from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sitecfg.errors import ConfigError, GridError
from sitecfg.failures import FAULTLESS, Action, Change, decide, shipped, with_changes

if TYPE_CHECKING:
    from collections.abc import Iterator


def _classes(kind: type[GridError]) -> Iterator[str]:
    yield kind.failure
    for below in kind.__subclasses__():
        yield from _classes(below)


def test_what_needs_more_memory_is_not_tried_again_with_as_little() -> None:
    assert decide("oom", 1).action is Action.HOLD


def test_every_error_and_every_end_of_a_payload_has_a_rule() -> None:
    ends = {"lease", "killed", "oom", "timeout", "stalled"}
    assert {*_classes(GridError)} | ends <= set(shipped())


@pytest.mark.parametrize("failure", sorted(shipped()))
def test_a_rule_says_why_and_ends_in_a_persons_hands(failure: str) -> None:
    rule = shipped()[failure]
    assert rule.why.endswith(".")
    assert rule.then is not Action.RETRY
    assert 0 <= rule.first_delay <= rule.longest_delay


@given(st.sampled_from(sorted(FAULTLESS)), st.integers(1, 10**9))
def test_kills_and_lost_leases_never_hold_a_job(failure: str, times: int) -> None:
    decision = decide(failure, times)
    assert decision.action is Action.RETRY
    assert math.isfinite(decision.delay_s)


@given(st.sampled_from(sorted(shipped())), st.integers(1, 50))
def test_a_class_is_retried_as_often_as_its_rule_says(failure: str, times: int) -> None:
    rule, decision = shipped()[failure], decide(failure, times)
    if rule.retries is None or times <= rule.retries:
        assert decision.action is Action.RETRY
        assert rule.first_delay <= decision.delay_s <= rule.longest_delay
        assert decision.delay_s >= decide(failure, max(1, times - 1)).delay_s
    else:
        assert decision.action is rule.then
        assert decision.delay_s == 0


def test_the_input_is_set_aside_only_for_what_is_wrong_with_it() -> None:
    set_aside = {failure for failure, rule in shipped().items() if rule.then is Action.QUARANTINE}
    assert set_aside == {"corrupt", "source-bad"}
    assert decide("corrupt", 1).action is Action.RETRY
    assert decide("corrupt", 2).action is Action.QUARANTINE
    assert decide("source-bad", 1).action is Action.QUARANTINE


def test_a_class_that_nobody_knows_is_treated_as_our_own_mistake() -> None:
    assert decide("novel", 1).action is Action.RETRY
    last = decide("novel", 9)
    assert last.action is Action.HOLD
    assert "novel" in last.why


def test_a_site_changes_single_values() -> None:
    rules = with_changes(
        {"payload": Change(retries=7), "corrupt": Change(then=Action.HOLD, first_delay=60.0)}
    )
    assert decide("payload", 7, rules).action is Action.RETRY
    assert decide("payload", 8, rules).action is Action.HOLD
    assert rules["payload"].first_delay == shipped()["payload"].first_delay
    assert decide("corrupt", 1, rules).delay_s == 60.0
    assert decide("corrupt", 2, rules).action is Action.HOLD
    assert decide("space", 10**6, with_changes({"space": Change(retries=-1)})).action is Action.RETRY
    assert decide("payload", 3).action is Action.HOLD


def test_a_change_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(ConfigError, match="bogus"):
        with_changes({"bogus": Change()})
    for failure in FAULTLESS:
        with pytest.raises(ConfigError, match="limited"):
            with_changes({failure: Change(retries=3)})
