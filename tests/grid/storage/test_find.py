"""Finding files: paths, URLs, globs of both, and storage places."""

from __future__ import annotations

import http.server
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest

from grid.storage.find import find_files
from sitecfg.errors import GatewayUnreachable, MissingFile, UsageError
from tests.grid.house import closed_to_me

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name in ("a1.root", "a2.root", "b[1].root", "deep/a3.root", "with space.root"):
        (tmp_path / name).write_bytes(b"root")
    return tmp_path


class Listing(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    """A web server that lists the folder."""
    handler = partial(Listing, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def names(found: list[str]) -> list[str]:
    return [one.rpartition("/")[2] for one in found]


def test_paths_and_globs_come_sorted_and_once(folder: Path) -> None:
    found = find_files([folder / "a2.root", f"{folder}/a*.root", f"{folder}/deep/../a1.root"])
    assert found == [(folder / name).as_uri() for name in ("a1.root", "a2.root")]


def test_a_double_star_goes_into_folders(folder: Path) -> None:
    assert names(find_files([f"{folder}/**/a*.root"])) == ["a1.root", "a2.root", "a3.root"]


def test_a_file_whose_name_looks_like_a_glob_is_itself(folder: Path) -> None:
    assert find_files([folder / "b[1].root"]) == [(folder / "b[1].root").as_uri()]


def test_file_urls_are_looked_up_too(folder: Path) -> None:
    assert names(find_files([f"{folder.as_uri()}/a*.root"])) == ["a1.root", "a2.root"]
    assert find_files([(folder / "with space.root").as_uri()]) == [(folder / "with space.root").as_uri()]
    with pytest.raises(MissingFile, match="no file has this name"):
        find_files([f"{folder.as_uri()}/none.root"])


def test_a_folder_or_nothing_is_told(folder: Path) -> None:
    with pytest.raises(MissingFile, match=r"deep/\*\.root"):
        find_files([folder / "deep"])
    with pytest.raises(MissingFile, match="no file has this name"):
        find_files([f"{folder}/c*.root"])


def test_what_may_not_be_looked_at_is_told(folder: Path) -> None:
    with closed_to_me(folder), pytest.raises(MissingFile, match="Permission denied"):
        find_files([folder / "a1.root"])
    with pytest.raises(MissingFile, match="too long"):
        find_files([folder / ("x" * 300)])


def test_a_remote_glob_is_asked_for(web: str) -> None:
    assert names(find_files([f"{web}/a*.root"])) == ["a1.root", "a2.root"]
    assert find_files([f"{web}/not-asked-for.root"]) == [f"{web}/not-asked-for.root"]
    with pytest.raises(MissingFile, match="no file has such a name"):
        find_files([f"{web}/z*.root"])


def test_a_remote_glob_without_an_answer_may_be_tried_again(web: str) -> None:
    with pytest.raises((GatewayUnreachable, MissingFile)):
        find_files(["http://127.0.0.1:9/a*.root"])
    with pytest.raises(UsageError, match="can't be opened"):
        find_files(["nonsense://somewhere/*.root"])


def test_a_storage_place_stands_for_its_url(folder: Path, web: str) -> None:
    places = {"archive": folder.as_uri(), "web": web + "/"}
    assert names(find_files(["place://archive/deep/*.root"], places)) == ["a3.root"]
    assert find_files(["place://web/x.root"], places) == [f"{web}/x.root"]
    with pytest.raises(UsageError, match="there is archive"):
        find_files(["place://archive2/x.root"], places)
    with pytest.raises(UsageError, match="no storage place"):
        find_files(["place://archive/x.root"])
