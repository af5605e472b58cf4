"""A finished clip: frames that can be asked for in any order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from .paths import expanded
from .preprocessing import check_image
from .sources import CaptureSource, FolderSource, SourceError, read_picture

Picture = NDArray[np.uint8] | str | Path


class Clip:
    """Frames of one size, brought to the model's square input.

    A video file is read once, to its end, and kept as bytes of that size (3 MB per frame at 1024 pixels);
    pictures in files are read when they are asked for.

    Args:
        source: a video file, a folder of pictures (by name; names that are numbers, by number), or a sequence
            of uint8 RGB arrays (H, W, 3) and picture files.
        size: side of the model's input, pixels.
        resize: see `PreprocessingConfig.resize_clip`.

    Raises:
        SourceError: there is no such file or folder, or nothing in it can be read.
        ValueError: an array is not uint8 RGB.
    """

    def __init__(self, source: str | Path | Sequence[Picture], size: int, resize: str) -> None:
        self._size = size
        self._resize = resize
        self._pictures: Sequence[Picture]
        self._read_at_once = isinstance(source, (str, Path)) and expanded(source).is_file()
        if isinstance(source, (str, Path)):
            if not str(source):
                raise SourceError("the clip's name is empty: give a video or a folder of pictures")
            path = expanded(source)
            if self._read_at_once:
                self._pictures = self._read_video(path)
                return
            if not path.is_dir():
                raise SourceError(f"{path}: no such file or folder; give a video or a folder of pictures")
            self._pictures = FolderSource(path).paths
        else:
            self._pictures = list(source)
        if not self._pictures:
            raise SourceError("the clip has no frames: give at least one uint8 RGB (H, W, 3)")
        self.height, self.width = _read(self._pictures[0]).shape[:2]

    def __len__(self) -> int:
        return len(self._pictures)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """Frame number `index` as the model takes it: uint8 RGB (size, size, 3).

        Raises:
            SourceError: the picture can't be read, or has another size than the first.
        """
        image = _read(self._pictures[index])
        if self._read_at_once:
            return image
        if image.shape[:2] != (self.height, self.width):
            raise SourceError(
                f"frame {index} has {image.shape[1]} x {image.shape[0]} pixels, the first one has "
                f"{self.width} x {self.height}: give frames of one size"
            )
        return self._resized(image)

    def _read_video(self, path: Path) -> list[NDArray[np.uint8]]:
        source = CaptureSource(str(path), path.stem)
        frames = []
        try:
            for frame in source:
                self.height, self.width = frame.image.shape[:2]
                frames.append(self._resized(frame.image))
        finally:
            source.close()
        return frames

    def _resized(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        side = (self._size, self._size)
        if image.shape[:2] == side:
            return image
        if self._resize == "area":
            return np.asarray(cv2.resize(image, side, interpolation=cv2.INTER_AREA), np.uint8)
        from PIL import Image  # torch's own on bytes differs from it by 1 here and there

        return np.array(Image.fromarray(image).resize(side, Image.Resampling.BICUBIC))


def _read(picture: Picture) -> NDArray[np.uint8]:
    if isinstance(picture, (str, Path)):
        return read_picture(Path(picture))
    check_image(picture)
    return picture
