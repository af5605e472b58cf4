"""Discovery: what is there to be tracked in an image, beside what is tracked already."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .checks import check_number
from .crops import build_point_grid
from .mask_generator import MaskGenerator
from .masks import BoolMask
from .prompts import PromptError, as_numbers
from .tracker import Track, Tracker

DUPLICATE_IOU = 0.5
"""What overlaps a tracked object, or something better that was found, by more than this is taken for the
same.
"""

POINTS_PER_SIDE = 8
"""The grid of points that is asked: coarse, since objects worth tracking are large; 64 points are a second or
two of a CPU."""

POINTS_PER_PIECE = 4
"""The search pauses after so many points, so that images are processed in between."""


@dataclass(frozen=True)
class Search:
    """Where to look for objects, and what to take.

    Attributes:
        region: x_min, y_min, x_max, y_max in pixels, kept as a tuple and clipped to the image: only what
            lies in it for the most part is taken; None: the whole image.
        max_objects: take the best so many; 0: as many as fit.
        min_quality: least predicted IoU, 0 to 1; 0: the model's own setting.

    Raises:
        PromptError: a value is out of its range, or no number.
    """

    region: Sequence[float] | NDArray[Any] | None = None
    max_objects: int = 0
    min_quality: float = 0.0

    def __post_init__(self) -> None:
        check_number("max_objects", self.max_objects, 0, whole=True, error=PromptError)
        check_number("min_quality", self.min_quality, 0, 1, error=PromptError)
        if self.region is None:
            return
        form = "x_min y_min x_max y_max in pixels"
        region = np.atleast_1d(as_numbers(self.region, "region", form))
        if region.shape != (4,):
            raise PromptError(f"region has {len(region)} numbers: give {form}, or none")
        if region[0] >= region[2] or region[1] >= region[3]:
            raise PromptError(f"region {_numbers(region)} has no area: give {form}")
        object.__setattr__(self, "region", tuple(region.tolist()))


@dataclass(frozen=True, eq=False)
class Found:
    """Something in an image.

    Attributes:
        mask: bool (H, W).
        quality: its predicted IoU, 0 to 1.
    """

    mask: BoolMask
    quality: float


def discover(
    tracker: Tracker, image: NDArray[np.uint8], tracks: Sequence[Track], search: Search
) -> Generator[None, None, list[Found]]:
    """Look for objects; yields between pieces of the work, none of which takes long.

    Args:
        tracker: whose model looks, and whose room limits what is taken.
        image: uint8 RGB (H, W, 3).
        tracks: of the known objects in this image.
        search: where to look and what to take.

    Returns: what was found, the best first, no two the same and none of them known.

    Raises:
        PromptError: the region lies outside the image, or no more objects fit.
    """
    room = tracker.max_objects - len(tracker.object_ids)
    if room < 1:
        raise PromptError(
            f"{len(tracker.object_ids)} of at most {tracker.max_objects} objects are tracked: "
            "remove one first, or raise max_objects"
        )
    height, width = image.shape[:2]
    x_min, y_min, x_max, y_max = _region(search, height, width)
    # No larger than the model can see: what a piece takes does not depend on the camera.
    scale = min(1.0, tracker.model.config.image_size / min(height, width))
    size = round(width * scale), round(height * scale)
    grid = build_point_grid(POINTS_PER_SIDE) * (x_max - x_min, y_max - y_min) + (x_min, y_min)
    generator = MaskGenerator(
        tracker.model, point_grids=[grid / (width, height)], points_per_batch=POINTS_PER_PIECE
    )
    if search.min_quality > 0:
        generator.pred_iou_thresh = search.min_quality
    records = yield from generator.generate_in_pieces(_resized(image, size))
    inside = np.zeros((height, width), bool)
    inside[int(y_min) : int(np.ceil(y_max)), int(x_min) : int(np.ceil(x_max))] = True
    inside, *taken = (_resized_mask(mask, size) for mask in (inside, *(track.mask for track in tracks)))
    found: list[Found] = []
    for record in records:
        mask = record["segmentation"]
        area = np.count_nonzero(mask)
        if area == 0 or np.count_nonzero(mask & inside) * 2 < area:
            continue
        if all(mask_iou(mask, other) <= DUPLICATE_IOU for other in taken):
            taken.append(mask)
            found.append(Found(mask, record["predicted_iou"]))
    found = found[: min(room, search.max_objects or room)]
    return [Found(_resized_mask(one.mask, (width, height)), one.quality) for one in found]


def _region(search: Search, height: int, width: int) -> tuple[float, float, float, float]:
    """Where to look, x_min, y_min, x_max, y_max in pixels of an image of this size."""
    x_min, y_min, x_max, y_max = search.region or (0, 0, width, height)
    region = max(x_min, 0.0), max(y_min, 0.0), min(x_max, float(width)), min(y_max, float(height))
    if region[0] >= region[2] or region[1] >= region[3]:
        raise PromptError(
            f"region {_numbers(search.region or ())} lies outside the image of {width} x {height} "
            "pixels: give x_min, y_min, x_max, y_max inside it"
        )
    return region


def _resized(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """An image brought to a width and height in pixels."""
    same = image.shape[1::-1] == size
    return image if same else np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _resized_mask(mask: BoolMask, size: tuple[int, int]) -> BoolMask:
    """A mask brought to a width and height in pixels."""
    if mask.shape[1::-1] == size:
        return mask
    return cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_LINEAR) >= 0.5


def mask_iou(one: BoolMask, other: BoolMask) -> float:
    """Intersection over union of two masks of one size; 0 where both are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 0.0


def _numbers(values: Iterable[float]) -> str:
    return f"({', '.join(f'{value:g}' for value in values)})"
