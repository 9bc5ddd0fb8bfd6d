"""The arithmetic of the books, against plain Python."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from catalog import closure
from catalog.closure import Tally
from tests.catalog.world import tally

words = st.integers(0, 2**64 - 1)


def as_hex(*values: int) -> str:
    return "".join(f"{value:016x}" for value in values)


@given(words, words, words, words)
def test_words_add_each_by_itself_without_a_carry(a: int, b: int, c: int, d: int) -> None:
    assert closure.add_hex(as_hex(a, b), as_hex(c, d)) == as_hex((a + c) % 2**64, (b + d) % 2**64)


@given(st.lists(st.integers(0, 1000), max_size=20), st.randoms())
def test_the_order_of_adding_does_not_matter(events: list[int], random: object) -> None:
    shuffled = events.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert tally(events) == tally(shuffled)
    assert closure.total([tally(events[:5]), tally(events[5:])]) == tally(events)


def test_what_is_unknown_in_a_part_is_unknown_in_the_sum() -> None:
    assert closure.total([Tally(1, as_hex(1, 1)), Tally(2, None)]) == Tally(3, None, None)
    assert closure.total([]) == Tally(0, closure.NOTHING, closure.NOTHING)


@given(st.dictionaries(st.integers(0, 50), st.integers(0, 7), max_size=20), st.sets(st.integers(0, 50)))
def test_honest_books_close(masks: dict[int, int], dropped: set[int]) -> None:
    kept = {event: mask for event, mask in masks.items() if event not in dropped}
    gone = tally(set(masks) & dropped)
    books = {m: tally(e for e in kept if kept[e] == m) for m in set(kept.values())}
    outputs = {bit: tally(e for e in kept if kept[e] >> bit & 1) for bit in range(3)}
    assert closure.process(tally(masks), books, gone, outputs) == []


@given(
    st.dictionaries(st.integers(0, 50), st.integers(1, 7), min_size=1, max_size=20),
    st.sampled_from(["lose", "double", "swap"]),
    st.data(),
)
def test_any_change_of_the_events_of_an_output_is_seen(
    masks: dict[int, int], fault: str, data: st.DataObject
) -> None:
    books = {m: tally(e for e in masks if masks[e] == m) for m in set(masks.values())}
    streams = {bit: [e for e in masks if masks[e] >> bit & 1] for bit in range(3)}
    bit = data.draw(st.sampled_from([bit for bit, events in streams.items() if events]))
    victim = data.draw(st.sampled_from(streams[bit]))
    streams[bit] = {
        "lose": [e for e in streams[bit] if e != victim],
        "double": [*streams[bit], victim],
        "swap": [e if e != victim else 99 for e in streams[bit]],
    }[fault]
    outputs = {b: tally(events) for b, events in streams.items()}
    wrong = closure.process(tally(masks), books, closure.total([]), outputs)
    assert any(f"stream {bit}" in sentence for sentence in wrong)
    assert closure.merge([tally(e for e in masks if masks[e] >> bit & 1)], tally(streams[bit]))


def test_a_mask_without_an_output_is_seen() -> None:
    assert "mask 0x4" in closure.process(tally([1]), {4: tally([1])}, tally([]), {0: tally([])})[0]


def test_changed_contents_of_the_same_events_are_seen() -> None:
    right = tally([1, 2])
    wrong = Tally(right.events, right.fingerprint, f"{5:016x}")
    assert "other contents" in closure.merge([right], wrong)[0]


def test_an_input_without_a_fingerprint_is_counted_only_but_an_output_must_have_one() -> None:
    one = tally([1])
    assert closure.process(Tally(1, None), {1: one}, tally([]), {0: one}) == []
    assert "fingerprint is missing" in closure.merge([one], Tally(1, None))[0]


def test_run_sections_add_up() -> None:
    assert closure.sections(5, [(1, 1, 2), (1, 2, 3)]) == []
    assert closure.sections(5, []) == []
    assert closure.sections(5, [(1, 1, 2)])
    assert closure.sections(5, [(1, 1, 2), (1, 1, 3)])
