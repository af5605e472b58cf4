"""Videos in which an object goes away and comes back, made from videos in which it stays.

Three ways to go: the camera sees nothing (blackout), something stands before the object (occluder), the view
turns away until the object has left it (exit). The truth is that of the video, and nothing while it is away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .masks import BoolMask, mask_to_box

KINDS = ("blackout", "occluder", "exit")

TURN_IMAGES = 4
"""In so many images the view turns away, and in as many back, where the object leaves it."""

OCCLUDER_MARGIN = 0.1
"""How far the occluder reaches beyond the object's box on every side, as a share of the box."""


@dataclass(frozen=True, eq=False)
class Absence:
    """One way in which an object is away for some images.

    Attributes:
        kind: one of `KINDS`.
        away: numbers of the images in which nothing of the object is to be seen.
        shift: (x, y) pixels by which the view turns, where the object leaves it.
    """

    kind: str
    away: range
    shift: tuple[int, int] = (0, 0)

    @staticmethod
    def of(kind: str, away: range, masks: Sequence[BoolMask]) -> Absence:
        """Choose how far the view has to turn.

        Args:
            kind: one of `KINDS`.
            away: numbers of the images in which nothing of the object is to be seen.
            masks: (H, W) of the object in all images.

        Raises:
            ValueError: the kind is unknown.
        """
        if kind not in KINDS:
            raise ValueError(f"absence {kind!r} is unknown: give one of {', '.join(KINDS)}")
        box = mask_to_box(np.logical_or.reduce([masks[i] for i in away]))
        if kind != "exit" or box is None:
            return Absence(kind, away)
        height, width = masks[0].shape
        x_min, y_min, x_max, y_max = (int(value) for value in box)
        ways = ((-x_max, 0), (width - x_min, 0), (0, -y_max), (0, height - y_min))
        return Absence(kind, away, min(ways, key=lambda way: abs(way[0]) + abs(way[1])))

    def apply(
        self, index: int, image: NDArray[np.uint8], mask: BoolMask
    ) -> tuple[NDArray[np.uint8], BoolMask]:
        """Image number `index` as it is seen, and what is to be seen of the object.

        Args:
            index: number of the image.
            image: uint8 RGB (H, W, 3).
            mask: (H, W) of the object in it.
        """
        if self.kind == "exit":
            until, since = self.away.start - index, index - self.away.stop + 1
            turned = max(0.0, 1 - max(until, since, 0) / TURN_IMAGES)
            x, y = (round(turned * way) for way in self.shift)
            left = _moved(mask.astype(np.uint8), x, y, cv2.BORDER_CONSTANT)
            return _moved(image, x, y, cv2.BORDER_REPLICATE), left > 0
        if index not in self.away:
            return image, mask
        if self.kind == "blackout":
            return np.zeros_like(image), np.zeros_like(mask)
        return _covered(image, mask), np.zeros_like(mask)


def _moved(picture: NDArray[np.uint8], x: int, y: int, border: int) -> NDArray[np.uint8]:
    """The picture moved by x to the right and y down; what comes into view is the border's."""
    if x == y == 0:
        return picture
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    size = picture.shape[1::-1]
    return np.asarray(
        cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_NEAREST, borderMode=border), np.uint8
    )


def _covered(image: NDArray[np.uint8], mask: BoolMask) -> NDArray[np.uint8]:
    """The image with a grey, blotchy board before the object."""
    box = mask_to_box(mask)
    if box is None:
        return image
    margin = np.ceil(OCCLUDER_MARGIN * (box[2:] - box[:2])).astype(int)
    x_min, y_min = np.maximum(box[:2] - margin, 0)
    x_max, y_max = np.minimum(box[2:] + margin, image.shape[1::-1])
    blotches = np.random.default_rng(0).integers(70, 150, (6, 6), np.uint8)
    size = (int(x_max - x_min), int(y_max - y_min))
    result = image.copy()
    result[y_min:y_max, x_min:x_max] = cv2.resize(blotches, size, interpolation=cv2.INTER_CUBIC)[..., None]
    return result
