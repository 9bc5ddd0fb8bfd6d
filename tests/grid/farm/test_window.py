"""How many jobs are kept in flight."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from grid.farm.window import batch, window

SLOTS = st.integers(1, 20_000)
MEANS = st.none() | st.floats(0, 1e6, allow_nan=False)


@given(SLOTS, MEANS)
def test_a_window_has_a_place_for_each_slot_and_a_bounded_queue(slots: int, mean_s: float | None) -> None:
    assert slots <= window(slots, mean_s) <= 1.2 * slots + 32


@given(SLOTS, st.floats(1, 1e6))
def test_long_jobs_hardly_wait_at_the_workers(slots: int, mean_s: float) -> None:
    assert window(slots, mean_s) - slots <= slots / 4


def test_jobs_of_unknown_length_do_not_wait_at_the_workers() -> None:
    assert window(100, None) == 100


@given(SLOTS, MEANS, st.integers(0, 50_000))
def test_claims_fit_into_the_window_and_never_starve_a_slot(
    slots: int, mean_s: float | None, in_flight: int
) -> None:
    size = window(slots, mean_s)
    wanted = batch(slots, size, in_flight)
    assert 0 <= wanted <= max(0, size - in_flight)
    if in_flight < slots:
        assert wanted > 0


def test_while_slots_are_busy_claims_come_in_batches() -> None:
    size = window(8, 0.01)
    assert size == 8 + 33
    assert batch(8, size, in_flight=size - 3) == 0
    assert batch(8, size, in_flight=8) == 33
