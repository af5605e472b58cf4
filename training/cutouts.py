"""Objects cut out of photos and videos, and others that look like them.

What a tracker takes for its object is seldom a copy of it: it is another one of the kind in another pose, a
part of one, or something else of the same colours.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.photometry import recolour, recolour_as

Box = tuple[float, float, float, float]

LEAST_PART = 0.15
"""A part shows at least this share of the object."""


@dataclass(frozen=True)
class CutOut:
    """An object cut out of a photo or a video.

    Attributes:
        pictures: RGBA, one for all frames or one for each.
        boxes: Its extent in each picture: x_min, y_min, x_max, y_max in 0 to 1.
    """

    pictures: list[np.ndarray]
    boxes: list[Box]

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height in the first picture, 0 to 1."""
        x_min, y_min, x_max, y_max = self.boxes[0]
        return x_max - x_min, y_max - y_min

    @property
    def colours(self) -> np.ndarray:
        """uint8 RGB (n, 3): the object's pixels in the first picture."""
        return self.pictures[0][self.pictures[0][..., 3] > 127, :3]

    def with_shades(self, shades: np.ndarray) -> CutOut:
        """The same object in other colours: uint8 RGB of all pictures, one below the other."""
        parts = np.split(shades, len(self.pictures))
        pictures = [np.dstack([s, p[..., 3]]) for s, p in zip(parts, self.pictures, strict=True)]
        return CutOut(pictures, self.boxes)

    @property
    def shades(self) -> np.ndarray:
        """uint8 RGB of all pictures, one below the other."""
        return np.concatenate([picture[..., :3] for picture in self.pictures])


def extent(mask: np.ndarray) -> Box:
    """The box around a mask (S, S) that is not empty, in 0 to 1."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    size = mask.shape[0]
    return columns[0] / size, rows[0] / size, (columns[-1] + 1) / size, (rows[-1] + 1) / size


def cut_out(images: list[np.ndarray], masks: list[np.ndarray]) -> CutOut:
    """Cut an object out of one picture, or of all frames of a film.

    The rim of a drawn mask often shows the background: a little of it is taken away.

    Args:
        images: uint8 RGB (S, S, 3).
        masks: uint8 (S, S), 1 on the object; none may be empty.
    """
    pictures = []
    for image, mask in zip(images, masks, strict=True):
        alpha = cv2.GaussianBlur(cv2.erode(mask, np.ones((2, 2), np.uint8)) * 255, (0, 0), 0.8)
        pictures.append(np.dstack([image, alpha]))
    return CutOut(pictures, [extent(mask) for mask in masks])


def mirrored(original: CutOut) -> CutOut:
    """Left and right exchanged."""
    pictures = [np.ascontiguousarray(picture[:, ::-1]) for picture in original.pictures]
    return CutOut(pictures, [(1 - box[2], box[1], 1 - box[0], box[3]) for box in original.boxes])


def part(rng: np.random.Generator, original: CutOut) -> CutOut:
    """What lies on one side of a line through the object; all of it if that is too little in some picture."""
    angle, offset = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2)
    pictures, boxes = [], []
    for picture, (x_min, y_min, x_max, y_max) in zip(original.pictures, original.boxes, strict=True):
        at = (np.arange(len(picture)) + 0.5) / len(picture)
        x, y = (at - (x_min + x_max) / 2) / (x_max - x_min), (at - (y_min + y_max) / 2) / (y_max - y_min)
        kept = np.cos(angle) * x + np.sin(angle) * y[:, None] > offset
        opaque = picture[..., 3] > 127
        if (kept & opaque).sum() <= LEAST_PART * opaque.sum():
            return original
        pictures.append(np.dstack([picture[..., :3], picture[..., 3] * kept]))
        boxes.append(extent(kept & opaque))
    return CutOut(pictures, boxes)


def look_alike(rng: np.random.Generator, original: CutOut, other: CutOut) -> CutOut:
    """Make something that may be taken for an object.

    Args:
        rng: Source of randomness.
        original: The object.
        other: Another object, which may be given the colours of the first.
    """
    kind = rng.choice(["whole", "part", "colours"], p=[0.45, 0.3, 0.25])
    if kind == "colours" and len(original.colours) and len(other.colours):
        return other.with_shades(recolour_as(other.shades, other.colours, original.colours))
    likeness = original if kind == "whole" else part(rng, original)
    if rng.random() < 0.5:
        likeness = mirrored(likeness)
    if rng.random() < 0.5:
        likeness = CutOut(likeness.pictures[::-1], likeness.boxes[::-1])
    strength = float(rng.choice([0.0, 0.5, 1.5]))
    return likeness.with_shades(recolour(rng, likeness.shades, strength)) if strength else likeness
