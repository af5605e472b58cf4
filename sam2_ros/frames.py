"""Where a camera stand-in gets its images from: a video file, a folder of images, a webcam."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from sam2_core.paths import expanded
from sam2_core.sources import capture_address

BgrImage = NDArray[np.uint8]

FOLDER_RATE = 25.0
"""Images per second of a folder, which does not say."""

MAX_RATE = 1000.0
"""Images per second; more is taken for a mistake."""

SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}


class SourceError(ValueError):
    """A source of images cannot be opened; the message names it and the way out."""


class Source(Protocol):
    """Images with a rate.

    Attributes:
        rate: the source's own, images per second.
        live: the source sets the pace itself, as a webcam does.
    """

    rate: float
    live: bool

    def images(self, start: int) -> Iterator[BgrImage]:
        """uint8 BGR (H, W, 3) from the start-th on; may be called again for another run."""
        ...


def open_source(name: str) -> Source:
    """The source of that name.

    Args:
        name: a video file, a folder of images, or a webcam as a number or a device such as /dev/video0. A
            file or folder whose name is a number goes before the webcam.

    Raises:
        SourceError: there is no such source, or nothing in it can be read.
    """
    if not name:
        raise SourceError("source is empty: name a video file, a folder of images, or a webcam such as 0")
    path = expanded(name)
    if re.fullmatch(r"\d+", name) and not path.exists():
        return _Capture(int(name), live=True)
    if re.fullmatch(r"/dev/video\d+", name):
        return _Capture(name, live=True)
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise SourceError(
            f"source {path} does not exist: name a video file, a folder of images, or a webcam such as 0"
        )
    return _Capture(str(path), live=False)


class _Folder:
    live = False
    rate = FOLDER_RATE

    def __init__(self, path: Path) -> None:
        self._paths = sorted((p for p in path.iterdir() if p.suffix.lower() in SUFFIXES), key=_natural)
        if not self._paths:
            raise SourceError(f"source {path} holds no images: expected {', '.join(sorted(SUFFIXES))}")

    def images(self, start: int) -> Iterator[BgrImage]:
        for path in self._paths[start:]:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
            if image is None:
                raise SourceError(f"{path} cannot be read as an image")
            yield np.asarray(image, np.uint8)


class _Capture:
    def __init__(self, source: str | int, live: bool) -> None:
        self._source = source
        self.live = live
        capture = self._open()
        rate = capture.get(cv2.CAP_PROP_FPS)
        self.rate = rate if 0 < rate <= MAX_RATE else FOLDER_RATE  # some files and webcams say 0, or 90000
        capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(capture_address(self._source))
        if not capture.isOpened():
            what = "opened as a webcam: is it plugged in, and free?" if self.live else "read as a video"
            raise SourceError(f"source {self._source} cannot be {what}")
        return capture

    def images(self, start: int) -> Iterator[BgrImage]:
        capture = self._open()
        try:
            # Seeking lands on the wrong image in many files: the images before the first are read and left
            # out.
            for _ in range(start):
                if not capture.grab():
                    return
            while True:
                read, image = capture.read()
                if not read:
                    return
                yield np.asarray(image, np.uint8)
        finally:
            capture.release()


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts frame_2 before frame_10."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name)]
