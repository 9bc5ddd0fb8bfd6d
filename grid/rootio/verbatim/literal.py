"""What stands between the slots of a tree, and the words in it that change when something before them gets longer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from grid.rootio.format.objects import BYTE_COUNT, CLASS_MASK, MAP_OFFSET

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from grid.rootio.format.walk import Walk
    from grid.rootio.verbatim.slots import Slot

__all__ = ["Literal"]

#: A leaf's bit that says whose memory its values are in (kNewValue), and where it stands in the leaf's TObject.
_OWNS_VALUES, _OWNS_AT = 0x10, 8
#: No place behind the last slot.
_NOWHERE: Final = np.iinfo(np.int64).max


class Literal:
    """The bytes of the first file's tree outside of its slots.

    Parameters
    ----------
    walk
        The walk over the tree.
    slots
        Its slots, in order.
    """

    def __init__(self, walk: Walk, slots: Sequence[Slot]) -> None:
        self._ends = np.array([slot.end for slot in slots], np.int64)
        self._lengths = np.array([slot.end - slot.begin for slot in slots], np.int64)
        self._shift = walk.shift
        counts = self._outside(np.array(walk.counts, np.int64).reshape(-1, 2))
        references = self._outside(np.array([[at, 0] for at in walk.references], np.int64).reshape(-1, 2))
        raw = np.array([walk.u32(int(at)) for at in references[:, 0]], np.int64)
        references[:, 1] = (raw & ~CLASS_MASK) - self._shift
        self._is_count = np.repeat([True, False], [len(counts), len(references)])
        self._class_bit = np.concatenate([np.zeros(len(counts), np.int64), raw & CLASS_MASK])
        both = np.concatenate([counts, references])
        self._old_words, self._old_targets = both[:, 0].copy(), both[:, 1].copy()
        places = _to_literal(self._old_words, self._ends, self._lengths)
        self._word_bytes = (places[:, None] + np.arange(4)).reshape(-1)
        parts, at = [], 0
        for slot in slots:
            parts.append(walk.data[at : slot.begin])
            at = slot.end
        self._bytes = np.frombuffer(b"".join([*parts, walk.data[at:]]), np.uint8)
        #: The bits that are the same in all trees of the schema.
        self._fixed = np.full(len(self._bytes), 0xFF, np.uint8)
        self._fixed[self._word_bytes] = 0
        leaves = [
            node.marks["TObject"][0] + _OWNS_AT
            for node in walk.nodes.values()
            if node.class_name.startswith("TLeaf") and "TObject" in node.marks
        ]
        owners = self._outside(np.array([[at, 0] for at in leaves], np.int64).reshape(-1, 2))[:, 0]
        self._fixed[_to_literal(owners, self._ends, self._lengths)] = 0xFF - _OWNS_VALUES
        words = self._bytes[self._word_bytes].view(">u4").astype(np.int64)
        self._meant = self._targets(words, self._ends, self._lengths, self._shift)
        #: Where the pointers to branches stand.
        self._branches = np.array(
            [at for at, node in walk.nodes.items() if node.class_name.startswith("TBranch")], np.int64
        )

    @property
    def overlaps(self) -> bool:
        """Whether slots do."""
        return bool((self._ends[:-1] > self._ends[1:] - self._lengths[1:]).any())

    def same(self, data: bytes, begins: Sequence[int], ends: Sequence[int], key_length: int) -> bool:
        """Whether another tree, whose slots stand there, has the same bytes, and its words mean the same."""
        parts = [data[end:begin] for end, begin in zip([0, *ends], [*begins, len(data)], strict=True)]
        literal = np.frombuffer(b"".join(parts), np.uint8)
        if len(literal) != len(self._bytes) or ((literal ^ self._bytes) & self._fixed).any():
            return False
        lengths = np.subtract(ends, begins)
        words = literal[self._word_bytes].view(">u4").astype(np.int64)
        meant = self._targets(words, np.array(ends), lengths, key_length + MAP_OFFSET)
        # if not, a part is of another class, or belongs to another part
        return bool((meant == self._meant).all())

    def patch(self, out: bytearray, filled: Sequence[bytes], key_length: int) -> None:
        """Let words mean what they meant where slots were filled like this."""
        values = np.where(
            self._is_count,
            (self.moved(self._old_targets, filled) - self.moved(self._old_words, filled) - 4) | BYTE_COUNT,
            (self.moved(self._old_targets, filled) + key_length + MAP_OFFSET) | self._class_bit,
        )
        at_bytes = self.moved(self._old_words, filled)[:, None] + np.arange(4)
        np.frombuffer(out, np.uint8)[at_bytes] = values.astype(">u4").view(np.uint8).reshape(-1, 4)

    def moved(self, old: NDArray[np.int64], filled: Sequence[bytes]) -> NDArray[np.int64]:
        """Return where what stood there stands when slots were filled like this."""
        by = np.cumsum([0, *(len(new) for new in filled)]) - np.cumsum([0, *self._lengths])
        answer: NDArray[np.int64] = old + by[np.searchsorted(self._ends, old, side="right")]
        return answer

    def branches(self, filled: Sequence[bytes], key_length: int) -> list[int]:
        """Return what references to each branch say when slots were filled like this."""
        found: list[int] = (self.moved(self._branches, filled) + key_length + MAP_OFFSET).tolist()
        return found

    def branches_at(
        self, at: NDArray[np.int64], begins: Sequence[int], ends: Sequence[int]
    ) -> NDArray[np.int64]:
        """Return the numbers of the branches that begin at `at` in a tree whose slots stand there; -1: none does."""
        places = _to_literal(at, np.array(ends), np.subtract(ends, begins))
        known = _to_literal(self._branches, self._ends, self._lengths)
        order = np.argsort(known)
        near = order[np.minimum(np.searchsorted(known, places, sorter=order), len(known) - 1)]
        answer: NDArray[np.int64] = np.where(known[near] == places, near, -1)
        return answer

    def _outside(self, words: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the words (first column: where) that stand in no slot."""
        inside = np.searchsorted(self._ends, words[:, 0], side="right")
        begins = np.append(self._ends - self._lengths, _NOWHERE)
        return words[words[:, 0] < begins[inside]]

    def _targets(
        self, words: NDArray[np.int64], ends: NDArray[np.int64], lengths: NDArray[np.int64], shift: int
    ) -> NDArray[np.int64]:
        """Return what each word means, as a place among the bytes between the slots."""
        at = _from_literal(self._word_bytes[::4], ends, lengths)
        counted = at + 4 + (words & ~BYTE_COUNT)
        meant = np.where(self._is_count, counted, (words & ~CLASS_MASK) - shift)
        place = _to_literal(meant, ends, lengths)
        answer: NDArray[np.int64] = np.where(self._is_count, place, place | (words & CLASS_MASK))
        return answer


def _to_literal(
    at: NDArray[np.int64], ends: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    before = np.concatenate([[0], np.cumsum(lengths)])
    answer: NDArray[np.int64] = at - before[np.searchsorted(ends, at, side="right")]
    return answer


def _from_literal(
    at: NDArray[np.int64], ends: NDArray[np.int64], lengths: NDArray[np.int64]
) -> NDArray[np.int64]:
    before = np.cumsum(lengths)
    answer: NDArray[np.int64] = (
        at + np.concatenate([[0], before])[np.searchsorted(ends - before, at, side="right")]
    )
    return answer
