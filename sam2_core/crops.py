"""Where the mask generator looks: crops of a picture in layers, and grids of points in each."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NEAR_EDGE = 20
"""Pixels within which a mask's box counts as touching an edge (SAM's constant)."""


@dataclass(frozen=True)
class Crop:
    """A piece of a picture: pixels, the maxima exclusive. Layer 0 is the whole picture."""

    x_min: int
    y_min: int
    x_max: int
    y_max: int
    layer: int

    @property
    def box(self) -> tuple[int, int, int, int]:
        return self.x_min, self.y_min, self.x_max, self.y_max

    @property
    def area(self) -> int:
        return (self.x_max - self.x_min) * (self.y_max - self.y_min)

    def cuts(self, box: tuple[int, int, int, int], shape: tuple[int, ...]) -> bool:
        """Whether a box reaches an edge of the crop that is not an edge of the picture: then it is cut off
        there.

        Args:
            box: x_min, y_min, x_max, y_max in the picture.
            shape: (H, W) of the picture.
        """
        picture = (0, 0, shape[1], shape[0])
        return any(
            abs(side - edge) <= NEAR_EDGE and abs(side - border) > NEAR_EDGE
            for side, edge, border in zip(box, self.box, picture, strict=True)
        )


def crops_of(shape: tuple[int, ...], layers: int, overlap_ratio: float) -> list[Crop]:
    """The whole picture, and for layer i a grid of (2 ** i) ** 2 overlapping crops.

    Args:
        shape: (H, W) of the picture.
        layers: how many beside the whole picture.
        overlap_ratio: of the crops of layer 1, as a share of the picture's shorter side; halved with every
            layer.
    """
    height, width = shape
    crops = [Crop(0, 0, width, height, 0)]
    for layer in range(1, layers + 1):
        per_side = 2**layer
        overlap = int(overlap_ratio * min(height, width) * (2 / per_side))
        crop_width, crop_height = (
            math.ceil((overlap * (per_side - 1) + length) / per_side) for length in (width, height)
        )
        for column in range(per_side):
            for row in range(per_side):
                x, y = column * (crop_width - overlap), row * (crop_height - overlap)
                crop = Crop(x, y, min(x + crop_width, width), min(y + crop_height, height), layer)
                if crop.x_min < crop.x_max and crop.y_min < crop.y_max:  # a tiny picture has not so many
                    crops.append(crop)
    return crops


def build_point_grid(per_side: int) -> NDArray[np.floating[Any]]:
    """Points in the middles of a square of equal cells, row by row. Returns: (N, 2) x, y in 0..1."""
    half = 1 / (2 * per_side)
    middles = np.linspace(half, 1 - half, per_side)
    x, y = np.meshgrid(middles, middles)
    return np.stack((x.ravel(), y.ravel()), axis=1)
