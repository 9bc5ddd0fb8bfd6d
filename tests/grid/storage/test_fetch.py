"""Any address becomes a local path, and nothing is left behind."""

from __future__ import annotations

import functools
import http.server
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from grid.storage.fetch import copy_out, local_copy, local_path
from sitecfg.errors import GatewayUnreachable, MissingFile, NoSpace, TruncatedFile, UsageError
from tests.grid.house import closed_to_me

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONTENT = os.urandom(9_000_000)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


class _Cut(_Quiet):
    """Promises the whole file, sends half of it and hangs up."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[: len(CONTENT) // 2])


def serve(handler: type[http.server.BaseHTTPRequestHandler], folder: Path) -> http.server.ThreadingHTTPServer:
    made = functools.partial(handler, directory=str(folder))  # type: ignore[call-arg]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), made)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "a.root").write_bytes(CONTENT)
    return tmp_path / "site"


@pytest.fixture
def server(folder: Path) -> Iterator[str]:
    running = serve(_Quiet, folder)
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


def test_a_local_file_is_used_where_it_lies(folder: Path, tmp_path: Path) -> None:
    for address in (str(folder / "a.root"), (folder / "a.root").as_uri()):
        with local_copy(address, tmp_path / "scratch") as path:
            assert path == folder / "a.root"
    assert not (tmp_path / "scratch").exists()


def test_a_path_with_odd_characters_survives_its_url(tmp_path: Path) -> None:
    odd = tmp_path / "a b%20c#d?.root"
    assert local_path(odd.as_uri()) == odd


def test_a_remote_file_is_copied_and_removed_afterwards(server: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    with local_copy(f"{server}/a.root", tmp_path / "scratch", lambda *two: seen.append(two)) as path:
        assert path.read_bytes() == CONTENT
    assert list((tmp_path / "scratch").iterdir()) == []
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) > 1


def test_a_missing_file_says_so(server: str, tmp_path: Path) -> None:
    for address in (f"{server}/b.root", str(tmp_path / "b.root"), (tmp_path / "b.root").as_uri()):
        with pytest.raises(MissingFile), local_copy(address, tmp_path / "scratch"):
            pytest.fail("there is nothing to read")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (Path.mkdir, "no file, but a folder"),
        (os.mkfifo, "no file, but a folder, a pipe"),
        (lambda path: path.symlink_to(path), "symbolic link"),
        (lambda path: path.symlink_to("/dev/zero"), "no file"),
        (lambda path: path.symlink_to("x" * 300), "too long"),
    ],
    ids=["folder", "pipe", "loop", "device", "name too long"],
)
def test_what_is_no_file_is_never_opened(tmp_path: Path, make: Callable[[Path], None], said: str) -> None:
    path = tmp_path / "a.root"
    make(path)
    with pytest.raises(MissingFile, match=said) as caught, local_copy(path.as_uri(), tmp_path / "scratch"):
        pytest.fail("there is nothing to read")
    assert caught.value.where == path.as_uri()


def test_a_folder_that_may_not_be_entered(folder: Path, tmp_path: Path) -> None:
    with (
        closed_to_me(folder),
        pytest.raises(MissingFile, match="Permission denied"),
        local_copy(str(folder / "a.root"), tmp_path),
    ):
        pytest.fail("it may not be read")


def test_a_copy_that_ends_early_is_refused_and_removed(folder: Path, tmp_path: Path) -> None:
    running = serve(_Cut, folder)
    address = f"http://127.0.0.1:{running.server_port}/a.root"
    with pytest.raises((TruncatedFile, GatewayUnreachable)), local_copy(address, tmp_path / "scratch"):
        pytest.fail("half a file must not pass")
    running.shutdown()
    running.server_close()
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_storage_that_does_not_answer_can_be_asked_again(tmp_path: Path) -> None:
    with pytest.raises(GatewayUnreachable), local_copy("http://127.0.0.1:9/a.root", tmp_path):
        pytest.fail("nobody listens there")


def test_an_unknown_kind_of_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nosuch"), local_copy("nosuch://host/a.root", tmp_path):
        pytest.fail("there is no such protocol")


def test_copying_out_keeps_the_bytes(server: str, folder: Path, tmp_path: Path) -> None:
    for address in (f"{server}/a.root", str(folder / "a.root")):
        copy_out(address, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == CONTENT


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, which Linux has")
def test_a_full_disk_is_told_as_such(folder: Path) -> None:
    with pytest.raises(NoSpace):
        copy_out(str(folder / "a.root"), Path("/dev/full"))
