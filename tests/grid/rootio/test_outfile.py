"""A file with holes has the checksum of what lies on the disk, and a full disk has a name."""

from __future__ import annotations

import errno
import os
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid.rootio.outfile import OutFile, output_error
from sitecfg.errors import NoSpace, OutputError, OutputExists

if TYPE_CHECKING:
    from pathlib import Path


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=50)), max_size=20))
def test_the_checksum_is_that_of_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, parts: list[tuple[bool, bytes]]
) -> None:
    path = tmp_path_factory.mktemp("out") / "a"
    out = OutFile(path)
    holes = {out.reserve(4): b"head"}
    for is_hole, data in parts:
        if is_hole and data:
            holes[out.reserve(len(data))] = data
        else:
            out.append(data)
    assert out.finish(holes) == zlib.adler32(path.read_bytes())
    assert path.read_bytes() == b"head" + b"".join(data for _, data in parts)


def test_what_the_system_says_gets_our_name(tmp_path: Path) -> None:
    assert isinstance(output_error(OSError(errno.ENOSPC, "full"), tmp_path), NoSpace)
    assert isinstance(output_error(OSError(errno.EDQUOT, "quota"), tmp_path), NoSpace)
    assert isinstance(output_error(OSError(errno.EEXIST, "there"), tmp_path), OutputExists)
    assert type(output_error(OSError(errno.EIO, "broken"), tmp_path)) is OutputError
    with pytest.raises(OutputError):
        OutFile(tmp_path / "none" / "a")


def test_closing_twice_closes_once(tmp_path: Path) -> None:
    out = OutFile(tmp_path / "a")
    out.close()
    other = os.open(tmp_path / "a", os.O_RDONLY)
    out.close()
    os.close(other)
