"""What a person might give for an object: its mask, a rough box, or a few clicks."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from sam2_core.model.prompt_encoder import BACKGROUND, BOX_END, BOX_START, OBJECT


@dataclass(frozen=True)
class PromptBatch:
    """The same kind of prompt for N objects.

    Attributes:
        kind: `mask`, `box` or `point`.
        points: (N, P, 2) x, y in pixels of the model's input, or None.
        labels: (N, P), see `sam2_core.model.prompt_encoder`, or None.
    """

    kind: str
    points: Tensor | None = None
    labels: Tensor | None = None

    @property
    def several(self) -> bool:
        """Whether it is ambiguous, so that three masks compete: exactly one click."""
        return self.kind == "point" and self.points is not None and self.points.shape[1] == 1

    def to(self, device: torch.device) -> PromptBatch:
        """The same prompts on a device."""
        if self.points is None or self.labels is None:
            return self
        return PromptBatch(self.kind, self.points.to(device), self.labels.to(device))


def loose_box(mask: np.ndarray, rng: np.random.Generator, looseness: float) -> list[list[float]]:
    """Corners of the object's box, each side moved by up to `looseness` of the box's size.

    Args:
        mask: bool (S, S), not empty.
        rng: Source of randomness.
        looseness: 0 gives the tight box.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    low = np.array([columns[0], rows[0]], float)
    high = np.array([columns[-1] + 1, rows[-1] + 1], float)
    extent = high - low
    low, high = (corner + rng.uniform(-looseness, looseness, 2) * extent for corner in (low, high))
    return [low.clip(0, mask.shape[0]).tolist(), high.clip(0, mask.shape[0]).tolist()]


def click(region: np.ndarray, rng: np.random.Generator, central: bool) -> list[float]:
    """A point inside a region: its innermost one, or any that is not at the very rim.

    Args:
        region: bool (S, S), not empty.
        rng: Source of randomness.
        central: Take the innermost point.
    """
    depth = cv2.distanceTransform(np.pad(region, 1).astype(np.uint8), cv2.DIST_L2, 3)[1:-1, 1:-1]
    if central:
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        return [float(x), float(y)]
    ys, xs = np.nonzero(depth >= 0.3 * depth.max())
    pick = rng.integers(len(ys))
    return [float(xs[pick]), float(ys[pick])]


def draw_prompts(masks: np.ndarray, kind: str, rng: np.random.Generator) -> PromptBatch:
    """Prompts for the objects of a batch in their first frames.

    Args:
        masks: bool (N, S, S), none empty.
        kind: `mask`, `box` or `point`; the number of points is drawn for the whole batch.
        rng: Source of randomness.
    """
    if kind == "mask":
        return PromptBatch(kind)
    if kind == "box":
        corners = [loose_box(mask, rng, float(rng.choice([0.0, 0.04, 0.1]))) for mask in masks]
        labels = torch.tensor([[BOX_START, BOX_END]]).expand(len(masks), -1)
        return PromptBatch(kind, torch.tensor(corners, dtype=torch.float32), labels)
    count = int(rng.choice([1, 2, 3], p=[0.65, 0.2, 0.15]))
    points, labels = [], []
    for mask in masks:
        clicks, sides = [click(mask, rng, central=bool(rng.random() < 0.5))], [OBJECT]
        near = cv2.dilate(mask.astype(np.uint8), np.ones((25, 25), np.uint8)).astype(bool) & ~mask
        for _ in range(count - 1):
            outside = bool(rng.random() < 0.5 and near.any())
            clicks.append(click(near if outside else mask, rng, central=False))
            sides.append(BACKGROUND if outside else OBJECT)
        points.append(clicks)
        labels.append(sides)
    return PromptBatch(kind, torch.tensor(points, dtype=torch.float32), torch.tensor(labels))


def correcting_clicks(masks: np.ndarray, shown: np.ndarray, rng: np.random.Generator) -> PromptBatch:
    """One click per object, in the middle of where the shown mask is most wrong.

    Args:
        masks: bool (N, S, S) true masks.
        shown: bool (N, S, S) masks to correct.
        rng: Source of randomness, for masks without a fault.
    """
    points, labels = [], []
    for mask, guess in zip(masks, shown, strict=True):
        missing, excess = mask & ~guess, guess & ~mask
        side = OBJECT if missing.sum() >= excess.sum() else BACKGROUND
        region = missing if side == OBJECT else excess
        if not region.any():
            side, region = OBJECT, mask
        points.append([click(region, rng, central=bool(rng.random() < 0.7))])
        labels.append([side])
    return PromptBatch("point", torch.tensor(points, dtype=torch.float32), torch.tensor(labels))
