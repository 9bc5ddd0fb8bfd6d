"""A published file is complete, under its name, read-only, and has overwritten nothing."""

from __future__ import annotations

import os
import stat
import zlib
from typing import TYPE_CHECKING

import pytest
import xxhash

from grid.storage.publish import Checksums, checksum_file, publish
from sitecfg.errors import ClosureError, MissingFile, OutputError, OutputExists

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def temp(tmp_path: Path) -> Path:
    path = tmp_path / ".part"
    path.write_bytes(os.urandom(100_000))
    return path


def test_a_published_file_has_its_bytes_and_their_checksums(temp: Path, tmp_path: Path) -> None:
    data = temp.read_bytes()
    published = publish(temp, tmp_path / "a.root")
    assert published.path.read_bytes() == data
    assert (published.bytes, published.adler32) == (len(data), f"{zlib.adler32(data):08x}")
    assert published.xxh3 == xxhash.xxh3_128_hexdigest(data)
    assert not temp.exists()
    assert not published.path.stat().st_mode & 0o222


def test_a_taken_name_is_refused_and_both_files_stay(temp: Path, tmp_path: Path) -> None:
    final = tmp_path / "a.root"
    final.write_bytes(b"mine")
    with pytest.raises(OutputExists):
        publish(temp, final)
    assert final.read_bytes() == b"mine"
    assert temp.exists()


def test_a_dangling_link_is_a_taken_name(temp: Path, tmp_path: Path) -> None:
    final = tmp_path / "a.root"
    final.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OutputExists):
        publish(temp, final)
    assert not (tmp_path / "nowhere").exists()


def test_it_can_be_finished_after_a_crash_between_its_two_names(temp: Path, tmp_path: Path) -> None:
    final = tmp_path / "a.root"
    final.hardlink_to(temp)
    publish(temp, final)
    assert final.exists()
    assert not temp.exists()


def test_bytes_that_changed_since_they_were_written_are_refused(temp: Path, tmp_path: Path) -> None:
    sums = checksum_file(temp)
    data = bytearray(temp.read_bytes())
    data[50_000] ^= 1
    temp.write_bytes(data)
    with pytest.raises(ClosureError):  # a file that is read as an input and found so would be quarantined
        publish(temp, tmp_path / "a.root", expected=sums)
    assert not (tmp_path / "a.root").exists()


def test_a_missing_file_and_a_missing_folder_are_told_apart(temp: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingFile):
        publish(tmp_path / "none", tmp_path / "a.root")
    with pytest.raises(OutputError):
        publish(temp, tmp_path / "none" / "a.root")
    assert temp.exists()


def test_the_checksum_of_an_empty_file_is_known_and_progress_is_told(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert checksum_file(tmp_path / "empty") == Checksums(0, "00000001", "99aa06d3014798d86001c324468d497f")
    calls: list[tuple[int, int]] = []
    (tmp_path / "full").write_bytes(bytes(9 << 20))
    checksum_file(tmp_path / "full", lambda done, total: calls.append((done, total)))
    assert calls[-1] == (9 << 20, 9 << 20)
    assert len(calls) == 3


def test_the_bytes_are_durable_before_the_name_and_the_name_before_the_answer(
    temp: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    sync = os.fsync

    def fsync(file: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(file).st_mode) else "bytes"
        done.append(f"{kind}, named: {(tmp_path / 'a.root').exists()}")
        sync(file)

    monkeypatch.setattr(os, "fsync", fsync)
    publish(temp, tmp_path / "a.root")
    assert done == ["bytes, named: False", "folder, named: True"]
