"""Damaged files end in a refusal by name or in the right answer, except where no checksum could know."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from grid.rootio.verify import verify
from grid.steps.reread import check_bytes
from grid.storage.publish import checksum_file
from sitecfg.errors import CorruptFile
from tests.grid.rootio.covered import covered
from tests.grid.rootio.fuzz_table import OURS, fuzz, ntuple, shares, victims
from tests.grid.rootio.making import nano
from tests.grid.rootio.mutations import mutate

#: Mutations of each file.
AFTER_INTAKE = 100


#: So many always, and the rest of the ten thousand in so many parts, each of other mutations.
ALWAYS, PARTS = 500, 8


def damage(real_data: Path, folder: Path, count: int, *, first: int = 0) -> None:
    """Make `count` mutations; fail with file, number and kind of each that was judged wrong."""
    (folder / "files").mkdir()
    paths = victims(real_data, folder / "files")
    # what is written ten thousand times need not reach a disk
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else folder) as scratch:
        verdicts = fuzz(shares(paths, count), Path(scratch), first=first)
    assert len(verdicts) >= count
    assert {verdict["file"] for verdict in verdicts} == {path.name for path in paths}
    assert [verdict for verdict in verdicts if verdict["wrong"]] == []
    assert any(verdict["split"] == "other" for verdict in verdicts), "it sees that an answer is another one"


def test_500_mutations(real_data: Path, tmp_path: Path) -> None:
    damage(real_data, tmp_path, ALWAYS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("part", range(PARTS))
def test_the_rest_of_ten_thousand_mutations(real_data: Path, tmp_path: Path, part: int) -> None:
    damage(real_data, tmp_path, -(-(10_000 - ALWAYS) // PARTS), first=(part + 1) * 10_000)


def test_after_intake_every_mutation_is_found(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    victim = tmp_path / "victim.root"
    for path in victims(real_data, tmp_path / "files"):
        whole, sums = path.read_bytes(), checksum_file(path)
        known = {"bytes": sums.bytes, "adler32": sums.adler32, "xxh3": sums.xxh3}
        for number in range(AFTER_INTAKE):
            victim.unlink(missing_ok=True)
            victim.write_bytes(mutate(whole, path.name, number)[1])
            with pytest.raises(CorruptFile, match="the catalog has"):
                check_bytes(victim, known, where=path.name)


@pytest.mark.parametrize("compression", OURS.values())
def test_verify_counts_the_bytes_that_checksums_cover(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.root"
    nano(path, 400, compression=compression, cluster_bytes=4000)
    assert verify(path).bytes_covered == len(covered(path))


def test_verify_counts_them_in_an_rntuple(tmp_path: Path) -> None:
    ntuple(tmp_path / "a.root")
    assert verify(tmp_path / "a.root").bytes_covered == len(covered(tmp_path / "a.root"))
