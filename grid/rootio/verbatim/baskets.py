"""Where the baskets of a tree lie in an input, and those that were never written but lie inside the tree itself."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from grid.rootio.format.baskets import parse_head
from grid.rootio.format.blocks import pack
from grid.rootio.format.keys import BIG, parse_key, parse_text
from grid.rootio.format.objects import BYTE_COUNT
from sitecfg.errors import CorruptFile, UnsupportedContent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from grid.rootio.format.blocks import Compression
    from grid.rootio.format.keys import Key
    from grid.rootio.verbatim.slots import BranchSlots, TreeView

__all__ = ["Baskets", "Embedded", "Late", "baskets_of", "branch_numbers", "flushed"]

_REFERENCED: Final = 1 << 4
#: A list of baskets without any: byte count and version, TObject, name, two numbers.
_EMPTY: Final = 4 + 2 + 10 + 1 + 8
_NEW_CLASS: Final = 0xFFFFFFFF
#: About so many baskets are looked at together.
_TOGETHER: Final = 1 << 17
#: The entries that a basket can say it has.
_MOST: Final = (1 << 31) - 1
#: How an embedded basket says what follows: nothing, offsets or none, displacements, and the data.
_WITH_DATA, _FIXED, _DISPLACED, _GENERATED = 10, 2, 40, 80


@dataclass(frozen=True, slots=True)
class Embedded:
    """A basket inside a tree: ``payload`` is what it would have on file behind its key, ``data`` bytes of it data.

    ``sizes`` are the fields that a basket adds to its key, as it would have them on file; ``as_sizes`` says whether its
    entry offsets are told as sizes.
    """

    branch: int
    first: int
    entries: int
    payload: bytes
    data: int
    key: Key
    sizes: bytes
    as_sizes: bool


class Late(NamedTuple):
    """A basket that no input has on file like this, as it was put into the output.

    ``nbytes`` is its size there, ``unpacked`` the same before it was packed; both with its key.
    """

    branch: int
    first: int
    seek: int
    nbytes: int
    unpacked: int


@dataclass(slots=True)
class Baskets:
    """The baskets of one tree of one file, branch after branch: ``[n]`` each. There may be millions.

    ``numbers`` is what the branches say of themselves, ``[branches]`` each.
    """

    seeks: NDArray[np.int64]
    nbytes: NDArray[np.int32]
    firsts: NDArray[np.int64]
    entries: NDArray[np.int32]
    branches: NDArray[np.int32]
    numbers: dict[str, NDArray[Any]]
    embedded: list[Embedded]


def baskets_of(view: TreeView, where: str) -> Baskets:
    """Collect the baskets of a tree.

    Raises
    ------
    CorruptFile
        If the entries in them are not those of their branch.
    UnsupportedContent
        If a branch has other entries than its tree, or keeps its baskets in another file.
    """
    total = int(view.numbers(view.template.tree)["fEntries"])
    numbers = branch_numbers(view)
    embedded: list[Embedded] = []
    columns: list[list[NDArray[Any]]] = [[], [], [], [], []]
    first = 0
    for stop in _groups(numbers["fMaxBaskets"]):
        part = _of_branches(view, range(first, stop), numbers, embedded, where)
        for column, values in zip(columns, part, strict=True):
            column.append(values)
        first = stop
    seeks, nbytes, firsts, entries, owners = (_together(column) for column in columns)
    found = Baskets(seeks, nbytes, firsts, entries, owners, numbers, embedded)
    _same_entries(view, found, total, where)
    return found


def _together(column: list[NDArray[Any]]) -> NDArray[Any]:
    """Return parts as one array, and forget them."""
    whole = column[0] if len(column) == 1 else np.concatenate(column)
    column.clear()
    return whole


def _groups(rooms: NDArray[np.int64]) -> list[int]:
    """Return where groups of branches end that have not many baskets each."""
    group = np.cumsum(np.maximum(rooms, 0)) // _TOGETHER
    return [*(np.flatnonzero(np.diff(group)) + 1).tolist(), len(rooms)]


def _of_branches(
    view: TreeView,
    which: range,
    numbers: dict[str, NDArray[Any]],
    embedded: list[Embedded],
    where: str,
) -> tuple[NDArray[Any], ...]:
    """Return the baskets on file of some branches as :class:`Baskets` has them, and add those inside the tree."""
    branches = view.template.branches[which.start : which.stop]
    room, (nbytes, firsts, seeks) = view.arrays([branch.baskets for branch in branches])
    owner = np.repeat(np.arange(which.start, which.stop), room)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(room) - room, room)
    written, entries = numbers["fWriteBasket"][owner], numbers["fEntries"][owner].astype(np.int64)
    after = within + 1
    goes_on = (after < np.repeat(room, room)) & (after <= written)
    held = np.where(goes_on, np.append(firsts[1:], 0), entries) - firsts
    used = seeks > 0
    _refuse(view, owner[used & (within > written)], "has more baskets than it says", where)
    _refuse(view, owner[used & (held < 0)], "has baskets that are out of order", where)
    _refuse(view, owner[used & (held > _MOST)], "has a basket with more entries than one can have", where)
    ends = np.cumsum(room)
    for row, branch in enumerate(branches):
        if view.size(branch.embedded) > _EMPTY:
            mine = firsts[ends[row] - room[row] : ends[row]]
            embedded += _embedded_in(view, which.start + row, mine, where)
    return (
        seeks[used],
        nbytes[used].astype(np.int32),
        firsts[used],
        held[used].astype(np.int32),
        owner[used].astype(np.int32),
    )


def branch_numbers(view: TreeView) -> dict[str, NDArray[Any]]:
    """Return what the branches say of themselves, ``[branches]`` each; 0 where they say nothing."""
    number = len(view.template.branches)
    answer: dict[str, NDArray[Any]] = {}
    for group in view.template.numbers:
        values = view.gather(group)
        for name in group.dtype.names or ():
            kind = np.float64 if group.dtype[name].kind == "f" else np.int64
            answer.setdefault(name, np.zeros(number, kind))[group.members] = values[name]
    return answer


def _refuse(view: TreeView, owners: NDArray[np.int64], what: str, where: str) -> None:
    if len(owners):
        name = _name(view.template.branches[int(owners[0])])
        raise CorruptFile(f"branch {name} {what}", where=where)


def _same_entries(view: TreeView, found: Baskets, total: int, where: str) -> None:
    """Check that branches have as many entries as they say, and as their tree."""
    branches = view.template.branches
    owners = np.concatenate([found.branches, np.array([one.branch for one in found.embedded], np.int64)])
    entries = np.concatenate([found.entries, np.array([one.entries for one in found.embedded], np.int64)])
    held = np.zeros(len(branches), np.int64)
    np.add.at(held, owners, entries)
    having = np.bincount(owners, minlength=len(branches)) > 0  # the others only hold branches
    said = found.numbers["fEntries"].astype(np.int64)
    for index in np.flatnonzero(having & (held != said))[:1].tolist():
        raise CorruptFile(
            f"branch {_name(branches[index])} says that it has {said[index]} entries, its baskets {held[index]}",
            where=where,
        )
    late = found.numbers.get("fFirstEntry", np.zeros(len(branches), np.int64)) != 0
    for index in np.flatnonzero(having & ((said != total) | late))[:1].tolist():
        raise UnsupportedContent(
            f"branch {_name(branches[index])} has {said[index]} entries in a tree of {total}", where=where
        )
    for index in [index for index in np.flatnonzero(having).tolist() if branches[index].foreign][:1]:
        raise UnsupportedContent(
            f"the baskets of branch {_name(branches[index])} lie in another file", where=where
        )


def flushed(one: Embedded, compression: Compression, place: int, parent: int) -> tuple[bytes, bytes]:
    """Return the key and what is behind it of an embedded basket that is put on file at `place`.

    Raises
    ------
    UnsupportedContent
        If its key has 4-byte positions, and the place is beyond these.
    """
    key = one.key
    if not key.big and place > BIG:
        raise UnsupportedContent(
            "a basket inside it has a key with 4-byte positions", todo="write smaller files (--max-size)"
        )
    packed = pack(one.payload, compression)
    head = replace(
        key,
        nbytes=key.length + len(packed),
        object_bytes=len(one.payload),
        seek=place,
        parent=parent,
        cycle=0,
    ).encode()
    return head + one.sizes[:-5] + struct.pack(">i", key.length + one.data) + one.sizes[-1:], packed


def _embedded_in(view: TreeView, index: int, firsts: NDArray[np.int64], where: str) -> list[Embedded]:
    """Return the baskets of a branch that lie inside the tree; `firsts` are the first entries of all its baskets."""
    branch = view.template.branches[index]
    try:
        return _inside(view.content(branch.embedded), index, firsts)
    except (struct.error, ValueError) as error:
        raise CorruptFile(
            f"a basket inside branch {_name(branch)} is unsound: {error}", where=where
        ) from error


def _inside(data: bytes, index: int, firsts: NDArray[np.int64]) -> list[Embedded]:
    _, _, bits = struct.unpack_from(">HII", data, 6)
    _, at = parse_text(data, 6 + (12 if bits & _REFERENCED else 10))
    count, lowest = struct.unpack_from(">ii", data, at)
    at += 8
    found: list[Embedded] = []
    if data.count(0, at) == len(data) - at:
        return found  # pointers to nothing
    for number in range(count):
        (word,) = struct.unpack_from(">I", data, at)
        if not word:
            at += 4
            continue
        end = at + 4 + (word & ~BYTE_COUNT)
        if not word & BYTE_COUNT or end > len(data) or not 0 <= number + lowest < len(firsts):
            raise ValueError("it is longer than its list, or not one of the branch's baskets")
        (tag,) = struct.unpack_from(">I", data, at + 4)
        begin = data.index(b"\0", at + 8, end) + 1 if tag == _NEW_CLASS else at + 8
        one = _embedded(data[begin:end], index, int(firsts[number + lowest]))
        if one.entries:
            found.append(one)
        at = end
    return found


def _embedded(data: bytes, branch: int, first: int) -> Embedded:
    """Read a basket as ``TBasket::Streamer`` wrote it into a tree, and put it together as it would be on file."""
    key, names_end = parse_key(data)
    head = parse_head(data, names_end)
    flag = data[head.end - 1]
    at = head.end
    generated = flag >= _GENERATED
    flag -= _GENERATED if generated else 0
    arrays = b""
    if not generated and flag and flag % 10 != _FIXED and head.entries:
        offsets, at = _ints(data, at, head.entries)
        if head.sizes:
            offsets = _to_sizes(offsets)
        arrays = struct.pack(">i", head.entries + 1) + offsets + bytes(4)
        if flag > _DISPLACED:
            displaced, at = _ints(data, at, head.entries)
            arrays += struct.pack(">i", head.entries + 1) + displaced + bytes(4)
    body = data[at : at + head.last]
    if (flag != 1 and flag <= _WITH_DATA) or len(body) != head.last or head.last < key.length:
        raise ValueError("its data are not there")
    content = body[key.length :]
    sizes = data[names_end : head.end - 1] + bytes((_GENERATED * generated,))
    return Embedded(branch, first, head.entries, content + arrays, len(content), key, sizes, head.sizes)


def _to_sizes(offsets: bytes) -> bytes:
    """Turn where entries begin into how far each lies behind the one before."""
    begins = np.frombuffer(offsets, ">i4")
    return np.append(0, np.diff(begins)).astype(">i4").tobytes()


def _ints(data: bytes, at: int, entries: int) -> tuple[bytes, int]:
    (count,) = struct.unpack_from(">i", data, at)
    end = at + 4 + 4 * count
    if not entries <= count or end > len(data):
        raise ValueError("its entry offsets are cut short")
    return data[at + 4 : at + 4 + 4 * entries], end


def _name(branch: BranchSlots) -> str:
    return repr(branch.name.decode("utf-8", "backslashreplace"))
