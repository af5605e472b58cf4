"""How well a mask agrees with an annotation: the region measure J and the boundary measure F of DAVIS.

Both are those of Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object
Segmentation", CVPR 2016, section 4, with the details of the official evaluation: which pixels are boundary,
how far a match may be, what an empty mask scores, from which frame on an object counts.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np

from .masks import BoolMask

BOUNDARY_TOLERANCE = 0.008
"""How far two boundary pixels may lie apart and still match, as a share of the image diagonal (DAVIS)."""


def region_similarity(mask: BoolMask, annotation: BoolMask) -> float:
    """J: intersection over union of two masks, 0..1; 1 where both are empty.

    Args:
        mask: bool (H, W), or other numbers that are not 0 where the object is.
        annotation: the same.

    Raises:
        ValueError: they differ in shape.
    """
    mask, annotation = _as_masks(mask, annotation)
    union = np.count_nonzero(mask | annotation)
    if union == 0:
        return 1.0
    return float(np.count_nonzero(mask & annotation) / union)


def boundary_measure(mask: BoolMask, annotation: BoolMask, tolerance: float = BOUNDARY_TOLERANCE) -> float:
    """F: harmonic mean of the boundary's precision and recall, 0..1.

    A boundary pixel is matched when the other boundary comes within `ceil(tolerance * diagonal)` pixels of
    it. The matching is the morphological one of DAVIS: dilation by a disk, not a bipartite assignment.

    Args:
        mask: bool (H, W), or other numbers that are not 0 where the object is.
        annotation: the same.
        tolerance: a share of the diagonal.

    Raises:
        ValueError: the masks differ in shape.
    """
    mask, annotation = _as_masks(mask, annotation)
    boundary = boundary_pixels(mask)
    true_boundary = boundary_pixels(annotation)
    length = np.count_nonzero(boundary)
    true_length = np.count_nonzero(true_boundary)
    if length == 0 or true_length == 0:
        return 1.0 if length == true_length else 0.0
    disk = _disk(int(np.ceil(tolerance * np.hypot(*mask.shape))))
    precision = np.count_nonzero(boundary & _dilate(true_boundary, disk)) / length
    recall = np.count_nonzero(true_boundary & _dilate(boundary, disk)) / true_length
    if precision + recall == 0:
        return 0.0
    return float(2 * precision * recall / (precision + recall))


def _as_masks(mask: BoolMask, annotation: BoolMask) -> tuple[BoolMask, BoolMask]:
    pair = np.asarray(mask) != 0, np.asarray(annotation) != 0
    if pair[0].shape != pair[1].shape:
        raise ValueError(f"prediction and annotation differ in shape: {sorted(one.shape for one in pair)}")
    return pair


def boundary_pixels(mask: BoolMask) -> BoolMask:
    """Pixels that differ from their right, lower or lower right neighbour.

    That is the outline moved half a pixel towards the origin (Martin's seg2bmap, which DAVIS uses). The
    last row and column look one way only, the last corner not at all.
    """
    boundary = np.zeros_like(mask, bool)
    boundary[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    boundary[:-1, :] |= mask[:-1, :] ^ mask[1:, :]
    boundary[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return boundary


def _disk(radius: int) -> np.ndarray:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return (x * x + y * y <= radius * radius).astype(np.uint8)


def _dilate(mask: BoolMask, disk: np.ndarray) -> BoolMask:
    return cv2.dilate(mask.view(np.uint8), disk).view(bool)


@dataclass(frozen=True)
class Score:
    """J and F, 0..1."""

    j: float
    f: float

    @property
    def jf(self) -> float:
        """J&F, their mean."""
        return (self.j + self.f) / 2

    @staticmethod
    def mean(scores: list[Score]) -> Score:
        """The mean of several scores; NaN of none."""
        if not scores:
            return Score(float("nan"), float("nan"))
        return Score(
            float(np.mean([score.j for score in scores])), float(np.mean([score.f for score in scores]))
        )


@dataclass
class ObjectScores:
    """Collects the scores of one sequence, frame by frame and object by object.

    An object counts from the first frame on in which the annotation or the prediction shows it, and in the
    result only if some annotation showed it: the rule of the DAVIS and SA-V evaluations.
    """

    frames: dict[int, list[Score]] = field(default_factory=dict)
    annotated: set[int] = field(default_factory=set)

    def add(
        self,
        prediction: Mapping[int, BoolMask],
        annotation: Mapping[int, BoolMask],
        counted: Collection[int] | None = None,
    ) -> None:
        """Scores one frame.

        Args:
            prediction: masks (H, W) by object id, those of absent objects left out or empty.
            annotation: the same.
            counted: which objects this frame counts for; None: for all.
        """
        if counted is not None:
            prediction = {i: mask for i, mask in prediction.items() if i in counted}
            annotation = {i: mask for i, mask in annotation.items() if i in counted}
        seen = {
            *self.frames,
            *(i for masks in (prediction, annotation) for i, mask in masks.items() if mask.any()),
        }
        self.annotated |= {i for i, mask in annotation.items() if mask.any()}
        shapes = {mask.shape for masks in (prediction, annotation) for mask in masks.values()}
        if len(shapes) > 1:
            raise ValueError(f"prediction and annotation differ in shape: {sorted(shapes)}")
        nothing = np.zeros(shapes.pop() if shapes else (1, 1), bool)
        for object_id in seen if counted is None else seen.intersection(counted):
            mask, truth = prediction.get(object_id, nothing), annotation.get(object_id, nothing)
            score = Score(region_similarity(mask, truth), boundary_measure(mask, truth))
            self.frames.setdefault(object_id, []).append(score)

    def result(self) -> dict[int, Score]:
        """Mean score per annotated object, by id."""
        return {object_id: Score.mean(self.frames[object_id]) for object_id in sorted(self.annotated)}
