"""What can be said of a mask without knowing the truth: whether it moves as expected, and whether something
else in the image was taken for the object, too. Memory policies decide by it.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from .masks import mask_to_box
from .memory_policies import MemoryPolicy
from .model import SAM2, MaskOutput
from .motion import BoxMotion, box_iou

STEADY_IMAGES = 15
"""The expected motion counts once the object was found in so many images in a row (SAMURAI's number)."""

STEADY_QUALITY = 0.3
"""With a predicted IoU up to this the object was not found: its motion is lost (SAMURAI's number)."""


class Judgement(NamedTuple):
    """See `MemoryEntry`; `track` is the object's motion from now on, None where nobody asks."""

    area: int
    motion: float | None
    rivalry: float
    track: BoxMotion | None


def prefer_expected(
    model: SAM2, output: MaskOutput, track: BoxMotion | None, policy: MemoryPolicy
) -> MaskOutput:
    """Choose among an object's candidate masks by their predicted IoU and by where the object was headed.

    Yang et al., SAMURAI, 2024, motion modelling: the candidate with the highest
    `w * IoU with the expected box + (1 - w) * predicted IoU`.

    Args:
        model: that made the output.
        output: of one object; with one candidate there is nothing to choose.
        track: the object's motion up to the image before.
        policy: names the weight w.
    """
    count = output.candidates.shape[1]
    if not policy.motion_weight or count == 1 or track is None or track.steady < STEADY_IMAGES:
        return output
    expected = track.predicted().box
    boxes = [mask_to_box(mask) for mask in _masks(output)]
    motion = np.array([0.0 if box is None else box_iou(expected, box) for box in boxes])
    quality = output.candidate_quality[0].float().cpu().numpy()
    best = int(np.argmax(policy.motion_weight * motion + (1 - policy.motion_weight) * quality))
    return model.pick(output, output.candidate_quality.new_tensor([best]).long())


def judge(output: MaskOutput, track: BoxMotion | None, policy: MemoryPolicy, prompted: bool) -> Judgement:
    """Judge the mask that an object got in an image.

    Args:
        output: of one object.
        track: its motion up to the image before.
        policy: asks for what it needs.
        prompted: a person said where the object is: its motion starts afresh.
    """
    if not policy.motion_weight and not policy.asks_for_rivals:
        return Judgement(0, None, 1.0, None)
    mask = (output.logits[0, 0] > 0).cpu().numpy()
    area = int(np.count_nonzero(mask))
    rivals = rivalry(mask, _masks(output)) if policy.asks_for_rivals and not prompted else 1.0
    if not policy.motion_weight:
        return Judgement(area, None, rivals, None)
    box = mask_to_box(mask)
    found = box is not None and float(output.quality[0]) > STEADY_QUALITY
    if prompted or track is None:
        return Judgement(area, None, rivals, BoxMotion.of(box) if box is not None else None)
    expected = track.predicted()
    steady = track.steady >= STEADY_IMAGES
    motion = None if not steady else 0.0 if box is None else box_iou(expected.box, box)
    return Judgement(area, motion, rivals, expected.corrected(box) if found and box is not None else None)


def rivalry(mask: NDArray[np.bool_], candidates: NDArray[np.bool_]) -> float:
    """How much something else in the image was taken for the object, too.

    Of what each candidate holds beyond the mask, the largest connected piece is joined to the mask; the
    smallest IoU between the mask's box and the box of such a union tells of the strongest rival (Videnovic,
    Lukezic and Kristan, DAM4SAM, CVPR 2025, distractor-resolving memory).

    Args:
        mask: bool (H, W), the one that was chosen.
        candidates: bool (K, H, W).

    Returns: 0 to 1; 1: no rival.
    """
    box = mask_to_box(mask)
    if box is None:
        return 1.0
    smallest = 1.0
    for candidate in candidates:
        beyond = (candidate & ~mask).astype(np.uint8)
        count, pieces, statistics, _ = cv2.connectedComponentsWithStats(beyond)
        if count > 1:
            largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
            union = mask_to_box(mask | (pieces == largest))
            assert union is not None
            smallest = min(smallest, box_iou(box, union))
    return smallest


def _masks(output: MaskOutput) -> NDArray[np.bool_]:
    return np.asarray((output.candidates[0] > 0).cpu().numpy())
