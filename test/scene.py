"""A small made-up video whose truth is known: two squares that move over a texture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def draw(index: int) -> NDArray[np.uint8]:
    """Frame number `index` of the made-up video."""
    y, x = np.mgrid[0:240, 0:320]
    texture = 90 + 20 * np.sin(x / 7.0) + 20 * np.cos(y / 9.0)
    image = np.repeat(texture[..., None], 3, axis=2).astype(np.uint8)
    for colour, (x_min, y_min, x_max, y_max) in (
        ((220, 40, 40), red_box(index)),
        ((40, 60, 220), blue_box(index)),
    ):
        image[y_min:y_max, x_min:x_max] = colour
    return image


def red_box(index: int) -> tuple[int, int, int, int]:
    """Where the red square is in frame `index`."""
    return 20 + 4 * index, 60, 80 + 4 * index, 120


def blue_box(index: int) -> tuple[int, int, int, int]:
    """Where the blue square is in frame `index`."""
    return 220, 20 + 2 * index, 270, 70 + 2 * index


def filled(box: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """The mask of a box in this video."""
    mask = np.zeros((240, 320), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def overlap(mask: NDArray[np.bool_], box: tuple[int, int, int, int]) -> float:
    """IoU of a mask with a filled box."""
    truth = np.zeros_like(mask)
    truth[box[1] : box[3], box[0] : box[2]] = True
    return float((mask & truth).sum() / (mask | truth).sum())
