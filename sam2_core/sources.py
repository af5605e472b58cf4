"""Where images come from: a video file, a folder of pictures, a camera, a network stream."""

from __future__ import annotations

import http.client
import re
import shutil
import tempfile
import threading
import urllib.parse
import urllib.request
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from .paths import expanded

PICTURES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
STREAMS = ("rtsp://", "rtsps://", "rtmp://", "http://", "https://", "udp://", "tcp://")
DEFAULT_FPS = 25.0
SLOWEST_FPS, FASTEST_FPS = 0.1, 1000.0
CONNECT_SECONDS = 30.0


class SourceError(OSError):
    """A source can't be opened or read; the message names it."""


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a source.

    Attributes:
        index: its number, from 0.
        name: the picture's file name without ending, or the number as `00012`.
        image: uint8 RGB (H, W, 3).
    """

    index: int
    name: str
    image: NDArray[np.uint8]


class Source(Protocol):
    """Images in order, each read when it is asked for.

    Attributes:
        name: a short name, fit for a file.
        fps: frames per second.
        total: how many frames there will be, None where nobody knows.
    """

    name: str
    fps: float
    total: int | None

    def size(self, index: int) -> tuple[int, int] | None:
        """Height and width of a frame that was not read yet; None where nobody knows."""

    def __iter__(self) -> Iterator[Frame]: ...

    def close(self) -> None: ...


def open_source(text: str) -> Source:
    """Opens what a person named.

    Args:
        text: a video file, a folder of pictures, the number of a camera, or the address of a stream. Where
            there is a file or folder of that name, it is meant.

    Raises:
        SourceError: there is nothing of the kind, or it can't be read.
    """
    path = expanded(text)
    if text.isdecimal() and not path.exists():
        if int(text) >= 2**31:
            raise SourceError(f"camera {text}: there is none of this number; give 0 for the first")
        return CaptureSource(int(text), f"camera{text}", newest_only=True)
    if text.lower().startswith(STREAMS):
        # What comes over http may be a file, of which every frame is wanted; the others are live.
        return _over_http(text) if text.lower().startswith("http") else CaptureSource(text, "stream", True)
    if text and path.is_dir():
        return FolderSource(path)
    if camera := re.fullmatch(r"/dev/video(\d+)", str(path)):
        return CaptureSource(int(camera[1]), f"camera{camera[1]}", newest_only=True)
    if path.exists() and not path.is_file():
        raise SourceError(f"{text}: not a regular file; give a video, or a folder of pictures")
    if not path.is_file():
        raise SourceError(
            f"{text}: no such file or folder; give a video, a folder of pictures, a camera's number, "
            "or an rtsp:// or http:// address"
        )
    return CaptureSource(str(path), path.stem)


def capture_address(address: str | int) -> str | int:
    """What OpenCV is to open: a file by its whole path, since FFmpeg takes `12:30.mp4` for a protocol."""
    return str(Path(address).absolute()) if isinstance(address, str) and "://" not in address else address


class FolderSource:
    """The pictures of a folder, by name; names that are numbers, by number."""

    def __init__(self, folder: Path) -> None:
        self.paths = files_by_number(folder, PICTURES)
        if not self.paths:
            raise SourceError(f"{folder}: no pictures ({', '.join(PICTURES)})")
        if twice := repeated_name(self.paths):  # what is written of them would have one name
            raise SourceError(f"{folder}: has several pictures called {twice}: leave one of them")
        self.name = folder.resolve().name
        self.fps = DEFAULT_FPS
        self.total: int | None = len(self.paths)

    def size(self, index: int) -> tuple[int, int] | None:
        if index >= len(self.paths):
            return None
        height, width = read_picture(self.paths[index]).shape[:2]
        return height, width

    def __iter__(self) -> Iterator[Frame]:
        for index, path in enumerate(self.paths):
            yield Frame(index, path.stem, read_picture(path))

    def close(self) -> None:
        """Nothing is held open."""


class CaptureSource:
    """What OpenCV can capture: video files, cameras, streams.

    Args:
        address: of OpenCV's VideoCapture.
        name: see `Source`.
        newest_only: for live sources: images that come while the last one is being worked on give way to
            newer ones.

    Raises:
        SourceError: it can't be opened, or, where every image is wanted, there is not one in it.
    """

    def __init__(self, address: str | int, name: str, newest_only: bool = False) -> None:
        self._capture = cv2.VideoCapture(capture_address(address))
        if not self._capture.isOpened():
            if isinstance(address, int):
                raise SourceError(f"camera {address} can't be opened: is it connected, and not in use?")
            raise SourceError(f"{address}: can't be opened as a video")
        self._first = None if newest_only else self._capture.read()[1]
        if not newest_only and self._first is None:
            raise SourceError(f"{address}: not one image could be read")
        self._address = address
        self._newest_only = newest_only
        self.name = name
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if SLOWEST_FPS < fps < FASTEST_FPS else DEFAULT_FPS
        total = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.total: int | None = total if total > 0 and not newest_only else None

    def size(self, index: int) -> tuple[int, int] | None:
        if self._first is not None:  # all frames of a video have one size
            height, width = self._first.shape[:2]
        else:
            height = int(self._capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
            width = int(self._capture.get(cv2.CAP_PROP_FRAME_WIDTH))
        return (height, width) if height and width else None

    def __iter__(self) -> Iterator[Frame]:
        pictures = self._newest() if self._newest_only else self._every()
        index = -1
        for index, picture in enumerate(pictures):
            image = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
            yield Frame(index, f"{index:05d}", image)
        if index < 0:
            raise SourceError(f"{self._address}: not one image could be read")

    def _every(self) -> Iterator[np.ndarray]:
        if self._first is not None:
            yield self._first
            self._first = None
        while True:
            there, picture = self._capture.read()
            if not there:
                return
            yield picture

    def _newest(self) -> Iterator[np.ndarray]:
        """Reads on another thread, so that a slow reader gets the newest image, not the oldest buffered
        one.
        """
        waiting: list[np.ndarray] = []
        arrival = threading.Condition()
        stopped, ended = threading.Event(), threading.Event()

        def read() -> None:
            there = True
            while there and not stopped.is_set():
                there, picture = self._capture.read()
                with arrival:
                    if there:
                        waiting[:] = [picture]
                    else:
                        ended.set()
                    arrival.notify()

        reader = threading.Thread(target=read, name="capture", daemon=True)
        reader.start()
        try:
            while True:
                with arrival:
                    arrival.wait_for(lambda: waiting or ended.is_set())
                    if not waiting:
                        return
                    picture = waiting.pop()
                yield picture
        finally:
            stopped.set()
            reader.join(timeout=5)

    def close(self) -> None:
        """Gives the camera or file back."""
        self._capture.release()


def _over_http(address: str) -> CaptureSource:
    """A video or stream on a web server.

    Some files have their index at the end. A server that sends only whole files can't give that first: then
    the file is fetched into a temporary one.
    """
    try:
        name = Path(urllib.parse.urlsplit(address).path).stem or "stream"
    except ValueError as error:
        raise SourceError(f"{address}: not an address ({error})") from error
    try:
        return CaptureSource(address, name)
    except SourceError as refusal:
        try:
            with urllib.request.urlopen(address, timeout=CONNECT_SECONDS) as answer:
                if answer.headers.get("Content-Length") is None:  # a stream without an end
                    raise refusal
                # OpenCV holds the file open: it may lose its name at once, and goes with the source.
                with tempfile.NamedTemporaryFile(prefix="sam2_") as file:
                    shutil.copyfileobj(answer, file)
                    file.flush()
                    return CaptureSource(file.name, name)
        except (OSError, http.client.HTTPException) as error:
            why = "not a video that can be read" if isinstance(error, SourceError) else str(error)
            raise SourceError(f"{address}: can't be opened as a video ({why})") from error


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Reads a picture as uint8 RGB (H, W, 3), turned upright as its EXIF data say.

    Raises:
        SourceError: it can't be read.
    """
    path = expanded(path)
    if not path.is_file():
        raise SourceError(f"{path}: " + ("not a regular file" if path.exists() else "no such file"))
    picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if picture is None:
        raise SourceError(f"{path}: not a readable picture")
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)


def files_by_number(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """The files of a folder with one of these endings, by name; names that are numbers, by number.

    Hidden ones, such as macOS leaves beside every file (`._00000.jpg`), don't count.
    """
    found = [path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.is_file()]
    return sorted((path for path in found if not path.name.startswith(".")), key=_order)


def repeated_name(paths: Sequence[Path]) -> str | None:
    """A name, without its ending, that several of these files have; None: there is none."""
    [(stem, count)] = Counter(path.stem for path in paths).most_common(1)
    return stem if count > 1 else None


def _order(path: Path) -> tuple[int, str]:
    return (int(path.stem), path.name) if path.stem.isdecimal() else (-1, path.name)
