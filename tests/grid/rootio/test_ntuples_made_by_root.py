"""RNTuples that ROOT makes to order: any mix of types, settings and lengths must come through merging and splitting."""

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
from grid.rootio.verify import verify
from grid.trigger import TriggerTable
from sitecfg.errors import SchemaMismatch, UnsupportedContent
from tests.grid.rootio.judge import needs_root
from tests.grid.rootio.ntuple_kinds import NESTED, NEVER_LATE, PLAIN, SPECIAL
from tests.grid.rootio.ntuples import DEPTHS
from tests.grid.rootio.told import Told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

pytestmark = [pytest.mark.judge, needs_root]

#: Types that uproot has to read.
READABLE = {*PLAIN, "std::vector<float>", "std::vector<std::string>", "std::array<float, 3>"}
STREAMS = {"a": ("HLT_A",), "b": ("HLT_B",)}
#: Ways to store the same numbers.
ROUNDED = ("plain", "half", "truncated", "truncated otherwise", "quantized", "quantized otherwise")
#: When late fields are added: never, or before the first cluster.
NEVER, AT_ONCE = -1, -2


@pytest.fixture(scope="module")
def maker() -> Iterator[Told]:
    made = Told("tests.grid.rootio.ntuple_kinds")
    with made.process:  # which closes what it reads, and waits
        yield made
    assert made.process.returncode == 0


def may_be_late(kind: str) -> bool:
    """Whether ROOT can add a field of a type late: it can't for these, but where they are only in lists."""
    return not any(word in kind.partition("std::vector<")[0] for word in NEVER_LATE)


class Way(NamedTuple):
    """How a file is written; `late` is the entry before which the late fields are added."""

    entries: int
    compression: int = 505
    page: int = 256
    cluster: int = 20
    group: int = 2
    sealed: bool = True
    buffered: bool = True
    turn: int = 0
    late: int = NEVER

    @property
    def blank(self) -> list[int]:
        """Whether each entry was written before the late fields were there."""
        before = self.entries if self.late == NEVER else max(self.late, 0)
        return [1] * before + [0] * (self.entries - before)


class Order(NamedTuple):
    """What all files hold, and how each is written."""

    usual: list[str]
    late: list[str]
    identity: bool
    ways: list[Way]

    @property
    def refused(self) -> str:
        """What of the late fields can't be merged, if there is something."""
        having = [way.late != NEVER for way in self.ways]
        if not self.late or not any(having):
            return ""
        new = any(
            way.late == AT_ONCE and not any(having[:number]) for number, way in enumerate(self.ways[1:], 1)
        )
        if new:
            return "is new"
        if self.ways[0].late == AT_ONCE and not all(having):
            return "is missing"
        return (
            "rounded numbers" if "quantized" in self.late and any(any(way.blank) for way in self.ways) else ""
        )


#: Types that are known before, each of which takes ROOT a moment to compile; and all that they can be put together to.
KNOWN = st.sampled_from((*PLAIN, *SPECIAL, *NESTED))
COMPOSED = st.recursive(
    st.sampled_from(
        (*PLAIN, "Colour", "Bird", "std::bitset<9>")
    ),  # ROOT mistakes what has a map or a set in it
    lambda inner: st.one_of(
        inner.map("std::vector<{}>".format),
        inner.map("std::array<{}, 2>".format),
        inner.map("std::optional<{}>".format),
        st.tuples(inner, inner).map(lambda two: "std::pair<{}, {}>".format(*two)),
        st.tuples(inner, inner)
        .filter(lambda two: two[0] != two[1])
        .map(lambda two: "std::variant<{}, {}>".format(*two)),
    ),
    max_leaves=4,
)


@st.composite
def orders(draw: st.DrawFn, kinds: st.SearchStrategy[str] = KNOWN) -> Order:
    """Draw the types of fields, and how each of some files is written."""
    usual = draw(st.lists(kinds, min_size=1, max_size=4))
    late = draw(st.lists(kinds.filter(may_be_late), max_size=2))
    turns = draw(st.sampled_from(([0], [0, 1, 2])))
    packed = draw(st.sampled_from(([101], [404], [505], [0, 101, 109, 207, 404, 409, 501, 505])))
    ways = []
    for _ in range(draw(st.integers(1, 3))):
        entries = draw(st.one_of(st.just(0), st.integers(1, 120)))
        at = st.integers(0, max(0, entries - 1))
        way = st.builds(
            Way,
            entries=st.just(entries),
            compression=st.sampled_from(packed),
            page=st.sampled_from((64, 256, 100_000)),
            cluster=st.sampled_from((0, 7, 50)),
            group=st.integers(0, 3),
            sealed=st.booleans(),
            buffered=st.booleans(),
            turn=st.sampled_from(turns),
            late=st.one_of(st.just(NEVER), st.just(AT_ONCE), at, at) if late else st.just(NEVER),
        )
        ways.append(draw(way))
    return Order(usual, late, draw(st.booleans()), ways)


class Judge:
    """ROOT, which knows what an order's files hold."""

    def __init__(self, maker: Told, order: Order) -> None:
        self._maker, self._order = maker, order

    def write(self, path: Path, first: int, way: Way) -> None:
        """Write one of its files, from the entry of number `first` on."""
        usual, late, identity, _ = self._order
        self._maker("write", str(path), usual, late, identity, first, *way)

    def hold(self, path: Path, wanted: Sequence[int], blank: Sequence[int], *, late: bool) -> None:
        """Hold all values of a file against what its entries, by number, must have."""
        usual, added, identity, _ = self._order
        given = (usual, added, identity, late and bool(added), list(wanted), list(blank))
        assert self._maker("differs", str(path), *given) == "", path.name

    def repeated(self, wanted: Sequence[int], blank: Sequence[int]) -> int:
        """Return how many entries repeat an earlier one: have its identity, or else hold the same."""
        if self._order.identity:
            return len(wanted) - len(set(wanted))
        return int(self._maker("repeated", self._order.usual, self._order.late, list(wanted), list(blank)))


def same_to_uproot(out: Path, parts: Sequence[Path], kinds: Sequence[str]) -> None:
    """Hold what uproot reads of an output against what it reads of the inputs."""
    with ExitStack() as stack:
        tree = stack.enter_context(uproot.open(out))["Events"]
        inputs = [stack.enter_context(uproot.open(part))["Events"] for part in parts]
        for name in [f"b{number}" for number, kind in enumerate(kinds, 1) if kind in READABLE]:
            read = [one[name].array() for one in inputs if one.num_entries]
            if read:
                assert ak.array_equal(tree[name].array(), ak.concatenate(read), equal_nan=True), name


def merge_and_split(maker: Told, order: Order, depth: str, cut: int, folder: Path) -> None:
    judge, parts, first = Judge(maker, order), [], 0
    for number, way in enumerate(order.ways):
        parts.append(folder / f"in{number}.root")
        judge.write(parts[-1], first, way)
        first += way.entries
    everything, blank = list(range(first)), [one for way in order.ways for one in way.blank]
    late = any(way.late != NEVER for way in order.ways)
    out = folder / "out.root"
    if why := order.refused:
        with pytest.raises((SchemaMismatch, UnsupportedContent), match=why):
            merge(parts, out, MergeOptions(verify=depth))
        assert not out.exists()
        return
    report = merge(parts, out, MergeOptions(verify=depth))
    assert report.output.events == first
    assert report.verified == depth
    verify(out)
    judge.hold(out, everything, blank, late=late)
    alike = len({(way.turn, way.compression) for way in order.ways}) == 1
    if alike:
        same_to_uproot(out, parts, order.usual)
    # merges of merges; a half may be refused that goes well after files that know its late fields
    halves = [span for span in ((0, cut), (cut, None)) if parts[slice(*span)]]
    if not any(order._replace(ways=order.ways[slice(*span)]).refused for span in halves):
        numbered = [folder / f"half{number}.root" for number in range(len(halves))]
        for span, to in zip(halves, numbered, strict=True):
            merge(parts[slice(*span)], to, MergeOptions(verify=depth))
        merge(numbered, folder / "again.root", MergeOptions(verify=depth))
        judge.hold(folder / "again.root", everything, blank, late=late)
    twice = merge([out, out], folder / "twice.root", MergeOptions(verify=depth))
    judge.hold(folder / "twice.root", everything * 2, blank * 2, late=late)
    if depth == "proven" or (depth == "sealed" and order.identity):
        assert report.duplicates.events == judge.repeated(everything, blank)
        assert twice.duplicates.events == first + report.duplicates.events
        # the same events, written in another way
        begin = order.ways[0]
        way = order.ways[-1]._replace(entries=begin.entries, late=begin.late)
        judge.write(folder / "other.root", 0, way)
        report = merge([parts[0], folder / "other.root"], folder / "both.root", MergeOptions(verify=depth))
        assert report.duplicates.events == judge.repeated([*range(begin.entries)] * 2, begin.blank * 2)
    # ROOT's own tool takes neither pages without checksums nor fields that are encoded in several ways, and fails at
    # packing rounded numbers anew
    if alike and first and all(way.sealed for way in order.ways):
        assert maker("join", str(folder / "joined.root"), [str(out), str(out)], order.ways[0].compression)
        judge.hold(folder / "joined.root", everything * 2, blank * 2, late=late)
        merge([folder / "joined.root", out], folder / "ours.root", MergeOptions(verify=depth))
        judge.hold(folder / "ours.root", everything * 3, blank * 3, late=late)
    # streams
    targets = {stream: folder / f"{stream}.root" for stream in STREAMS}
    if order.identity:
        split(out, targets, SplitRecipe(table=TriggerTable(name="TWO", tag=1, streams=STREAMS)))
        judge.hold(targets["a"], everything[::2], blank[::2], late=late)
        judge.hold(targets["b"], everything[::3], blank[::3], late=late)


ANY = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@ANY
@given(order=orders(), depth=st.sampled_from(DEPTHS), cut=st.integers(0, 3))
def test_any_ntuple_of_root_is_merged_and_split(maker: Told, order: Order, depth: str, cut: int) -> None:
    with tempfile.TemporaryDirectory() as made:
        merge_and_split(maker, order, depth, cut, Path(made))


@pytest.mark.slow
@settings(ANY, max_examples=300)
@given(order=st.one_of(orders(), orders(COMPOSED)), depth=st.sampled_from(DEPTHS), cut=st.integers(0, 3))
def test_many_ntuples_of_root_are_merged_and_split(maker: Told, order: Order, depth: str, cut: int) -> None:
    with tempfile.TemporaryDirectory() as made:
        merge_and_split(maker, order, depth, cut, Path(made))


@pytest.mark.parametrize("identity", [False, True])
def test_every_type_is_the_same_however_it_is_encoded(maker: Told, tmp_path: Path, identity: bool) -> None:
    kinds = [*PLAIN, *SPECIAL, *NESTED]
    late = list(filter(may_be_late, NESTED))
    whole, cut = Way(60), Way(60, 0, 64, 7, 3, turn=2, late=20)
    order = Order(kinds, late, identity, [whole, cut])
    parts = [tmp_path / "a.root", tmp_path / "b.root"]
    for path, way in zip(parts, order.ways, strict=True):
        Judge(maker, order).write(path, 0, way)
    report = merge(parts, tmp_path / "out.root")
    blank = whole.blank + cut.blank
    Judge(maker, order).hold(tmp_path / "out.root", [*range(60)] * 2, blank, late=True)
    # what the first has not at all, the second has only from the 20th entry on
    assert report.duplicates.events == (60 if identity else 20)
    assert report.duplicates.by == (("run", "luminosityBlock", "event") if identity else ())


@pytest.fixture(scope="module")
def rounded(maker: Told, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of the same numbers, which are stored in several ways."""
    paths = {kind: tmp_path_factory.mktemp("rounded") / "in.root" for kind in ROUNDED}
    for kind, path in paths.items():
        Judge(maker, Order(["std::uint64_t", kind], [], False, [])).write(path, 0, Way(50))
    return paths


@pytest.mark.parametrize("first", ["truncated", "quantized", "plain"])
def test_values_are_the_same_however_they_are_rounded(
    maker: Told, rounded: dict[str, Path], tmp_path: Path, first: str
) -> None:
    report = merge([rounded[first], rounded["half"], rounded["plain"]], tmp_path / "out.root")
    assert report.duplicates.events == 100
    judge = Judge(maker, Order(["std::uint64_t", "plain"], [], False, []))
    judge.hold(tmp_path / "out.root", [*range(50)] * 3, [0] * 150, late=False)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("second", ["truncated", "quantized", "quantized otherwise"])
@pytest.mark.parametrize("first", ["plain", "truncated otherwise"])
def test_numbers_that_are_rounded_otherwise_are_refused(
    rounded: dict[str, Path], tmp_path: Path, first: str, second: str, depth: str
) -> None:
    """ROOT would take them for rounded as the first ones are: it crashes, or sees others."""
    with pytest.raises(UnsupportedContent, match="the numbers of b2 are rounded, and otherwise than in"):
        merge([rounded[first], rounded[second]], tmp_path / "out.root", MergeOptions(verify=depth))
    assert not (tmp_path / "out.root").exists()


def test_the_count_of_a_list_that_was_added_late_is_named(maker: Told, tmp_path: Path) -> None:
    Judge(maker, Order(["float"], ["std::vector<float>"], True, [])).write(
        tmp_path / "in.root", 0, Way(30, late=10)
    )
    options = MergeOptions(format="ttree", on_refused="drop")
    report = merge([tmp_path / "in.root"], tmp_path / "out.root", options)
    why = "it was added while the file was being written"
    assert report.dropped_branches == (("Events", "l1", why), ("Events", "nl1", why))
