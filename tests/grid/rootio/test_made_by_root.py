"""Trees that ROOT makes to order: any mix of types, settings and lengths must come through merging and splitting."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import awkward as ak
import pytest
import uproot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from grid.rootio.merge import merge
from grid.rootio.merging import MergeOptions
from grid.rootio.split import SplitRecipe, split
from grid.trigger import TriggerTable
from tests.grid.rootio.judge import needs_root
from tests.grid.rootio.told import Told
from tests.grid.rootio.tree_maker import OBJECTS, PLAIN

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = [pytest.mark.judge, needs_root]

#: Kinds of branches that uproot has to read (it misreads empty "letters"), and how it fails on others.
READABLE = {*PLAIN, "string", "ints", "floats", "shorts"}
UNREADABLE = (
    ValueError,
    AttributeError,
    NotImplementedError,
    uproot.deserialization.DeserializationError,
)
STREAMS = {"a": ("HLT_A",), "b": ("HLT_B",)}


@pytest.fixture(scope="module")
def maker() -> Iterator[Told]:
    made = Told("tests.grid.rootio.tree_maker")
    with made.process:  # which closes what it reads, and waits
        yield made
    assert made.process.returncode == 0


class Way(NamedTuple):
    """How a file is written."""

    entries: int
    compression: int
    basket: int
    split: int
    flush: int
    embedded: bool
    generated: bool


@st.composite
def files(draw: st.DrawFn) -> tuple[list[str], list[Way]]:
    """Draw the kinds of branches, and how each of some files is written."""
    kinds = draw(st.lists(st.sampled_from((*PLAIN, *OBJECTS)), min_size=1, max_size=5))
    each = st.builds(
        Way,
        entries=st.one_of(st.just(0), st.integers(1, 120)),
        compression=st.sampled_from((0, 101, 109, 201, 208, 401, 404, 409, 501, 505)),
        basket=st.sampled_from((200, 1000, 32000)),
        split=st.just(draw(st.sampled_from((0, 99)))),
        flush=st.sampled_from((0, 7, 50, -2000, -30_000_000)),
        embedded=st.booleans(),
        generated=st.just(False),
    )
    return kinds, draw(st.lists(each, min_size=1, max_size=4))


def same_to_uproot(out: Path, parts: Sequence[Path], kinds: Sequence[str]) -> None:
    """Hold what uproot reads of an output against what it reads of the inputs; some classes it may not know."""
    named = dict.fromkeys(("run", "luminosityBlock", "event", "HLT_A", "HLT_B"), PLAIN[0])
    named |= {f"b{number}": kind for number, kind in enumerate(kinds, 1) if kind != "letters"}
    with ExitStack() as stack:
        tree = stack.enter_context(uproot.open(out))["Events"]
        inputs = [stack.enter_context(uproot.open(part))["Events"] for part in parts]
        for name, kind in named.items():
            try:
                read = [one[name].array() for one in inputs if one.num_entries]
            except UNREADABLE:
                assert kind not in READABLE, name
                continue
            if read:
                assert ak.array_equal(tree[name].array(), ak.concatenate(read), equal_nan=True), name


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
@given(chosen=files(), depth=st.sampled_from(("copied", "sealed", "proven")), cut=st.integers(0, 4))
def test_any_tree_of_root_is_merged_and_split(
    maker: Told, chosen: tuple[list[str], list[Way]], depth: str, cut: int
) -> None:
    kinds, ways = chosen
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        parts, first = [], 0
        for number, way in enumerate(ways):
            parts.append(folder / f"in{number}.root")
            maker("write", str(parts[-1]), kinds, first, *way)
            first += way.entries
        everything = list(range(first))
        out = folder / "out.root"
        report = merge(parts, out, MergeOptions(verify=depth))
        assert report.output.events == first
        assert maker("differs", str(out), kinds, everything) == ""
        same_to_uproot(out, parts, kinds)
        # merges of merges, ours and ROOT's
        halves = [part for part in (parts[:cut], parts[cut:]) if part]
        for number, half in enumerate(halves):
            merge(half, folder / f"half{number}.root", MergeOptions(verify=depth))
        merge([folder / f"half{number}.root" for number in range(len(halves))], folder / "again.root")
        assert maker("differs", str(folder / "again.root"), kinds, everything) == ""
        assert maker("join", str(folder / "joined.root"), [str(out), str(out)])
        assert maker("differs", str(folder / "joined.root"), kinds, everything * 2) == ""
        report = merge([folder / "joined.root"], folder / "ours.root", MergeOptions(verify=depth))
        assert maker("differs", str(folder / "ours.root"), kinds, everything * 2) == ""
        # streams
        targets = {stream: folder / f"{stream}.root" for stream in STREAMS}
        table = TriggerTable(name="TWO", tag=1, streams=STREAMS)
        split(out, targets, SplitRecipe(table=table))
        assert maker("differs", str(targets["a"]), kinds, everything[::2]) == ""
        assert maker("differs", str(targets["b"]), kinds, everything[::3]) == ""


@pytest.mark.parametrize("depth", ["sealed", "proven"])
@pytest.mark.parametrize("embedded", [False, True])
def test_offsets_that_are_told_as_sizes_are_understood(
    maker: Told, tmp_path: Path, depth: str, embedded: bool
) -> None:
    """As ROOT writes them on wish; the wish makes its own merger crash, and itself misread files of both kinds."""
    kinds = ["letters", "strings", "counted F"]
    parts = [tmp_path / "in0.root", tmp_path / "in1.root"]
    for number, part in enumerate(parts):
        maker("write", str(part), kinds, 60 * number, *Way(60, 505, 1000, 99, 7, embedded, generated=True))
    merge(parts, tmp_path / "out.root", MergeOptions(verify=depth))
    assert maker("differs", str(tmp_path / "out.root"), kinds, list(range(120))) == ""
    targets = {stream: tmp_path / f"{stream}.root" for stream in STREAMS}
    split(tmp_path / "out.root", targets, SplitRecipe(table=TriggerTable(name="TWO", tag=1, streams=STREAMS)))
    assert maker("differs", str(targets["b"]), kinds, list(range(0, 120, 3))) == ""
