"""What a user would otherwise run on a machine without a GPU, to be measured beside our own tracker.

A baseline follows boxes: it is shown an object's true box once and answers with a box per image.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from .masks import RgbImage

Box = NDArray[np.int64]


class Baseline(Protocol):
    """Follows boxes through a video.

    Attributes:
        seconds: spent on it so far.
    """

    seconds: float

    def step(self, image: RgbImage, new: Mapping[int, Box]) -> dict[int, Box | None]:
        """The boxes in the next image.

        Args:
            image: uint8 RGB (H, W, 3).
            new: (x_min, y_min, x_max, y_max) of the objects that begin here, by id; the maxima exclusive.

        Returns: the known objects' boxes by id; None where it says that it has lost one.
        """


class Csrt:
    """OpenCV's CSRT (Lukežič et al., Discriminative Correlation Filter with Channel and Spatial Reliability,
    CVPR 2017) with its own settings, one per object.

    Raises:
        ImportError: this OpenCV comes without it.
    """

    def __init__(self) -> None:
        if not hasattr(cv2, "TrackerCSRT"):
            raise ImportError("this OpenCV has no CSRT; opencv-contrib-python-headless has it")
        self.seconds = 0.0
        self._trackers: dict[int, cv2.TrackerCSRT] = {}

    def step(self, image: RgbImage, new: Mapping[int, Box]) -> dict[int, Box | None]:
        picture = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)  # what a camera gives OpenCV: not counted
        begin = time.perf_counter()
        boxes: dict[int, Box | None] = {}
        for object_id, tracker in self._trackers.items():
            found, (x, y, width, height) = tracker.update(picture)
            boxes[object_id] = np.array([x, y, x + width, y + height], np.int64) if found else None
        for object_id, box in new.items():
            x, y, x_max, y_max = (int(side) for side in box)
            self._trackers[object_id] = cv2.TrackerCSRT.create()
            self._trackers[object_id].init(picture, (x, y, x_max - x, y_max - y))
            boxes[object_id] = box
        self.seconds += time.perf_counter() - begin
        return boxes


BASELINES: dict[str, Callable[[], Baseline]] = {"csrt": Csrt}
"""Every baseline by its name."""
