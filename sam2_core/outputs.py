"""What is written while tracking: overlay video, mask PNGs, run-length JSON, boxes as CSV.

Every output is written frame by frame and holds nothing back, so that memory stays constant; `close`
completes the file, whenever it comes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Protocol

import cv2

from .masks import area, composite, encode_rle, overlay, save_palette_png
from .sources import Frame, capture_address
from .tracker import Track

CODECS = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "MJPG"}


class OutputError(OSError):
    """An output can't be written; the message names it."""


class Output(Protocol):
    """Takes every frame with its tracks, in order."""

    def write(self, frame: Frame, tracks: list[Track]) -> None: ...

    def close(self) -> None: ...


class OverlayVideo:
    """The images with the masks drawn over them, as a video of the first image's size.

    Its codecs want even sides: an odd one loses the last row or column.
    """

    def __init__(self, path: Path, fps: float, alpha: float = 0.5) -> None:
        if path.suffix.lower() not in CODECS:
            raise OutputError(f"{path}: unknown kind of video; give one of {', '.join(CODECS)}")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._fps = fps
        self._alpha = alpha
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def write(self, frame: Frame, tracks: list[Track]) -> None:
        height, width = frame.image.shape[:2]
        if self._writer is None:
            self._size = (width, height)
            codec = cv2.VideoWriter.fourcc(*CODECS[self._path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self._path.absolute()), codec, self._fps, self._size)
            if not self._writer.isOpened():
                raise OutputError(f"{self._path}: can't be written as a video")
        picture = cv2.cvtColor(overlay(frame.image, tracks, self._alpha), cv2.COLOR_RGB2BGR)
        if (width, height) != self._size:
            picture = cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)
        self._writer.write(picture)

    def close(self) -> None:
        """Completes the video.

        Raises:
            OutputError: its last image can't be read: not all of it was written, though OpenCV says nothing.
        """
        if self._writer is None:
            return
        self._writer.release()
        written = cv2.VideoCapture(capture_address(str(self._path)))
        written.set(cv2.CAP_PROP_POS_FRAMES, written.get(cv2.CAP_PROP_FRAME_COUNT) - 1)
        is_whole = written.read()[0]
        written.release()
        if not is_whole:
            raise OutputError(f"{self._path}: could not be written to its end: is the disk full?")


class MaskFolder:
    """One id image per frame, as an indexed PNG in the DAVIS palette."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def write(self, frame: Frame, tracks: list[Track]) -> None:
        save_palette_png(self._folder / f"{frame.name}.png", composite(tracks, frame.image.shape[:2]))

    def close(self) -> None:
        """Every file is complete already."""


class RunLengthJson:
    """COCO's results format: a list with one entry per frame and visible object.

    `image_id` is the frame's number from 0, `category_id` the object's id; `label` and `presence` are ours.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w")
        self._file.write("[")
        self._separator = "\n"

    def write(self, frame: Frame, tracks: list[Track]) -> None:
        for track in tracks:
            if track.box is None:
                continue
            x_min, y_min, x_max, y_max = track.box.tolist()
            entry = {
                "image_id": frame.index,
                "category_id": track.object_id,
                "label": track.label,
                "segmentation": encode_rle(track.mask),
                "bbox": [x_min, y_min, x_max - x_min, y_max - y_min],
                "area": area(track.mask),
                "score": round(track.score, 4),
                "presence": round(track.presence, 4),
            }
            self._file.write(self._separator + json.dumps(entry))
            self._separator = ",\n"

    def close(self) -> None:
        self._file.write("\n]\n")
        self._file.close()


class BoxCsv:
    """MOTChallenge's format, one line per frame and visible object: frame (from 1), id, left, top, width,
    height, confidence, and three times -1. Left and top count pixels from 0.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("w")

    def write(self, frame: Frame, tracks: list[Track]) -> None:
        for track in tracks:
            if track.box is not None:
                x_min, y_min, x_max, y_max = track.box.tolist()
                numbers = (frame.index + 1, track.object_id, x_min, y_min, x_max - x_min, y_max - y_min)
                self._file.write(",".join(map(str, numbers)) + f",{track.score:.4f},-1,-1,-1\n")

    def close(self) -> None:
        self._file.close()
