"""Objects pasted into a clip: what they look like, where they are, and how two of them become one."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from training.cutouts import CutOut
from training.motion import Path, frame_patch


@dataclass
class Sprite:
    """An object on its way through a clip, or a part of one.

    Attributes:
        number: Of the object.
        cut_out: What it looks like.
        path: Where it is in every frame.
        hidden: Frames in which it is not drawn.
    """

    number: int
    cut_out: CutOut
    path: Path
    hidden: set[int]


def join(rng: np.random.Generator, first: Sprite, second: Sprite) -> None:
    """Attach a part to another: it goes and turns with that one, and moves a little on its own besides."""
    moved = first.path.linear @ np.linalg.inv(first.path.linear[0])
    half, other = (0.5 * np.abs(s.path.linear[0]) @ s.cut_out.extent for s in (first, second))
    factor = rng.uniform(0.5, 1.3) * np.sqrt(half.prod() / other.prod())
    direction = rng.normal(0, 1, 2)
    offset = direction / np.linalg.norm(direction) * rng.uniform(0.4, 0.8) * (half + factor * other)
    own = 0.15 * (second.path.position - second.path.position[0])
    second.path.position[:] = first.path.position + moved @ offset + own
    second.path.linear[:] = factor * moved @ second.path.linear
    second.hidden = first.hidden


def draw(sprite: Sprite, t: int, source_size: int, frame: np.ndarray, labels: np.ndarray) -> None:
    """Paste a sprite into a frame.

    Args:
        sprite: The object, or a part of one.
        t: Frame number.
        source_size: Side of the pictures that it was cut out of, pixels.
        frame: uint8 RGB (S, S, 3), drawn into.
        labels: uint8 (S, S), gets the object's number where it shows.
    """
    shown = min(t, len(sprite.cut_out.pictures) - 1)
    box, picture = sprite.cut_out.boxes[shown], sprite.cut_out.pictures[shown]
    patch = frame_patch(sprite.path, t, box, source_size, len(frame))
    if patch is None:
        return
    maps = patch.map_x, patch.map_y
    drawn = cv2.remap(picture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    rows, columns = slice(patch.top, patch.bottom), slice(patch.left, patch.right)
    alpha = drawn[..., 3:].astype(np.uint16)
    under = frame[rows, columns]
    mixed = (drawn[..., :3] * alpha + under * (255 - alpha) + 127) // 255
    frame[rows, columns] = mixed.astype(np.uint8)
    labels[rows, columns][drawn[..., 3] > 127] = sprite.number
