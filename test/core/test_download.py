"""Downloads arrive whole or not at all, whatever the server does."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sam2_core import checkpoints, download
from sam2_core.checkpoints import CheckpointError, OfficialFile

NAME = "sam2.1_hiera_tiny"
CONTENT = bytes(range(256)) * 4000  # 1 MB


class Server(ThreadingHTTPServer):
    """Serves CONTENT, with the faults it is told."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []
        self.break_off_after: int | None = None
        self.stall_once_after: int | None = None
        self.corrupt_first = 0
        self.supports_ranges = True
        self.answer: tuple[int, bytes] | None = None
        self.released = threading.Event()


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        if server.answer is not None:
            status, body = server.answer
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        start = 0
        if server.supports_ranges and (wanted := self.headers.get("Range")):
            start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        body = bytearray(CONTENT[start:])
        if server.corrupt_first > 0:
            server.corrupt_first -= 1
            body[0] ^= 1
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.stall_once_after is not None:
            self.wfile.write(body[: server.stall_once_after])
            self.wfile.flush()
            server.stall_once_after = None
            server.released.wait(20)
            return
        self.wfile.write(body[: server.break_off_after])

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    official = OfficialFile(NAME, "092824", len(CONTENT), hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setitem(checkpoints.OFFICIAL, NAME, official)
    monkeypatch.setenv("SAM2_MIRROR", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


def fetch(folder: Path, **options: float) -> Path:
    return download.download_checkpoint(
        NAME, folder, **{"pause_seconds": 0.001, "stall_seconds": 5, **options}
    )


def test_a_download_arrives_whole_and_leaves_no_partial_file(server: Server, tmp_path: Path) -> None:
    path = fetch(tmp_path / "new" / "folder")
    assert path.read_bytes() == CONTENT
    assert [file.name for file in path.parent.iterdir()] == [f"{NAME}.pt"]
    assert server.ranges == [None]


def test_the_log_names_address_size_and_target(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = fetch(tmp_path)
    assert f"http://127.0.0.1:{server.server_port}/092824/{NAME}.pt" in caplog.text
    assert f"{len(CONTENT):,} bytes" in caplog.text
    assert str(path) in caplog.text


def test_a_file_that_is_there_is_checked_and_not_fetched_again(server: Server, tmp_path: Path) -> None:
    assert fetch(tmp_path) == fetch(tmp_path)
    assert len(server.ranges) == 1


def test_another_file_of_that_name_is_left_alone_and_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.pt").write_bytes(b"mine")
    with pytest.raises(CheckpointError, match="is not the published file"):
        fetch(tmp_path)
    assert (tmp_path / f"{NAME}.pt").read_bytes() == b"mine"


def test_a_server_that_breaks_off_is_asked_for_the_rest(server: Server, tmp_path: Path) -> None:
    server.break_off_after = 300_000
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert server.ranges == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_a_server_that_stalls_is_left_and_asked_again(server: Server, tmp_path: Path) -> None:
    server.stall_once_after = 500_000
    begin = time.monotonic()
    assert fetch(tmp_path, stall_seconds=0.3).read_bytes() == CONTENT
    assert time.monotonic() - begin < 5
    assert len(server.ranges) == 2


def test_what_an_earlier_call_fetched_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.pt.part").write_bytes(CONTENT[:700_000])
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=700000-"]


def test_a_server_without_ranges_sends_everything_again(server: Server, tmp_path: Path) -> None:
    server.supports_ranges = False
    (tmp_path / f"{NAME}.pt.part").write_bytes(CONTENT[:700_000])
    assert fetch(tmp_path).read_bytes() == CONTENT


def test_a_foreign_beginning_is_found_out_and_fetched_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.pt.part").write_bytes(bytes(700_000))
    assert fetch(tmp_path).read_bytes() == CONTENT
    assert server.ranges == ["bytes=700000-", None]


def test_a_corrupted_file_is_refused_and_the_next_call_succeeds(server: Server, tmp_path: Path) -> None:
    server.corrupt_first = 1
    with pytest.raises(CheckpointError, match=r"sha256 .* was discarded"):
        fetch(tmp_path)
    assert not (tmp_path / f"{NAME}.pt").exists()
    assert fetch(tmp_path).read_bytes() == CONTENT


def test_a_login_page_is_not_taken_for_weights(server: Server, tmp_path: Path) -> None:
    server.answer = (200, b"<html>please log in</html>")
    with pytest.raises(CheckpointError, match=r"offers 26 bytes instead of 1,024,000"):
        fetch(tmp_path)
    assert not (tmp_path / f"{NAME}.pt").exists()


def test_a_missing_file_is_reported_at_once(server: Server, tmp_path: Path) -> None:
    server.answer = (404, b"")
    with pytest.raises(CheckpointError, match="answered 404"):
        fetch(tmp_path)
    assert len(server.ranges) == 1


def test_a_busy_server_is_asked_several_times(server: Server, tmp_path: Path) -> None:
    server.answer = (503, b"")
    with pytest.raises(CheckpointError, match="answered 503"):
        fetch(tmp_path)
    assert len(server.ranges) == download.FRUITLESS_TRIES


def test_without_a_network_the_error_tells_how_to_do_it_by_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SAM2_MIRROR", "http://127.0.0.1:9")  # nobody listens at the discard port
    with pytest.raises(CheckpointError) as error:
        fetch(tmp_path)
    assert f"fetch http://127.0.0.1:9/092824/{NAME}.pt (156,008,466 bytes)" in str(error.value)
    assert f"put it at {tmp_path / NAME}.pt" in str(error.value)
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def test_a_mirror_without_a_scheme_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SAM2_MIRROR", "mirror.example/sam2")
    with pytest.raises(CheckpointError, match="is no address: give SAM2_MIRROR as https://HOST/PATH"):
        fetch(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mirror", ["http://[::1", "http://127.0.0.1/\u00fc"])
def test_a_mirror_that_is_no_address_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, mirror: str
) -> None:
    monkeypatch.setenv("SAM2_MIRROR", mirror)
    with pytest.raises(CheckpointError, match=r"could not be downloaded \(not an address: "):
        fetch(tmp_path)


def test_two_downloads_of_one_file_do_not_mix(server: Server, tmp_path: Path) -> None:
    server.stall_once_after = 1000
    first = threading.Thread(target=fetch, args=(tmp_path,))
    first.start()
    while not (tmp_path / f"{NAME}.pt.part").exists() or not server.ranges:
        time.sleep(0.01)
    with pytest.raises(CheckpointError, match="another process is downloading"):
        fetch(tmp_path)
    server.released.set()
    first.join()
    assert (tmp_path / f"{NAME}.pt").read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be written"):
        fetch(tmp_path / "file" / "below")


def test_an_unknown_name_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'sam3'.*sam2_hiera_tiny.*sam2.1_hiera_large"):
        download.download_checkpoint("sam3", tmp_path)
