from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from grid.rootio.books import Books, MaskBook, difference, total
from grid.rootio.tally import NOTHING, Tally
from kernels import fingerprint

masks = st.lists(st.integers(0, 7), max_size=30)


def keys_of(numbers: list[int]) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
    return fingerprint.event_keys([np.asarray(numbers, np.int64)])


def tally_of(numbers: list[int]) -> Tally:
    made = Tally()
    made.add(np.asarray(numbers, np.uint64) * 3, keys_of(numbers))
    return made


@settings(deadline=None)
@given(mask=masks, cut=st.integers(0, 30))
def test_the_books_of_chunks_add_up_to_streams_and_to_the_whole(mask: list[int], cut: int) -> None:
    books = Books()
    for part in (slice(None, cut), slice(cut, None)):
        numbers = list(range(len(mask)))[part]
        books.add(np.asarray(mask[part], np.uint64), keys_of(numbers), np.asarray(numbers, np.uint64) * 3)
    closed = books.close()
    assert [book.mask for book in closed] == sorted(set(mask))
    whole = tally_of(list(range(len(mask))))
    summed = total(closed)
    assert (summed.events, summed.fingerprint, summed.content) == (
        whole.events,
        whole.fingerprint,
        whole.content,
    )
    for bit in range(3):
        stream = tally_of([i for i, m in enumerate(mask) if m >> bit & 1])
        booked = total(closed, bit)
        assert (booked.events, booked.fingerprint, booked.content) == (
            stream.events,
            stream.fingerprint,
            stream.content,
        )


def test_no_book_is_nothing() -> None:
    assert Books().close() == ()
    assert total([]) == MaskBook(0, 0, NOTHING, NOTHING)


def test_differences_are_said_in_words() -> None:
    one = MaskBook(1, 1, "0" * 31 + "1", NOTHING)
    two = MaskBook(2, 2, "0" * 31 + "2", NOTHING)
    whole = "0" * 31 + "3"
    assert difference(3, whole, {"kept": one, "dropped": two}) is None
    assert difference(3, whole, {"kept": one}) == "1 kept = 1 events, but there are 3"
    other = MaskBook(2, 2, "0" * 31 + "9", NOTHING)
    assert difference(3, whole, {"kept": one, "dropped": other}) == (
        "1 kept + 2 dropped = 3 events as it should be, but other ones"
    )


@settings(deadline=None)
@given(numbers=st.lists(st.integers(0, 1000), min_size=2, max_size=20, unique=True))
def test_a_tally_tells_what_changed(numbers: list[int]) -> None:
    good = tally_of(numbers)
    assert good.difference(tally_of(numbers)) is None
    assert "instead of" in str(good.difference(tally_of(numbers[1:])))
    assert "other ones" in str(good.difference(tally_of([*numbers[1:], 5000])))
    turned = tally_of(numbers[::-1])
    assert "order" in str(good.difference(turned))
    assert good.difference(turned, order=False) is None
    changed = Tally()
    changed.add(np.asarray(numbers, np.uint64) * 3 + 1, keys_of(numbers))
    assert "contents changed" in str(good.difference(changed))
