"""What clicks say of an image before anything in it is looked at (sam2_nano)."""

from __future__ import annotations

import torch
from torch import Tensor

from .prompt_encoder import OBJECT

FAR_FROM_CLICK = 0.4
"""What is farther from every click on the object than this share of the image's width is background."""

CLICKED_RADIUS = 3.0
"""How much around a click on the object belongs to it for sure, in pixels of the low-resolution mask."""


def said_by_clicks(
    points: Tensor, labels: Tensor, grid: tuple[int, int], image_size: int
) -> tuple[Tensor, Tensor]:
    """Where something is known: at the clicks, and far from every click on the object, where background is.

    Args:
        points: (B, P, 2) x, y in pixels of the model's input.
        labels: (B, P) of 1 and 0, see `prompt_encoder`.
        grid: height h and width w of the feature map.
        image_size: side of the model's input, pixels.

    Returns: bool (B, h w) places of which something is known, and mask logits (B, 1, 4 h, 4 w): 1 at the
        clicks on the object, -1 elsewhere.
    """
    height, width = grid
    rows = torch.arange(height, device=points.device).repeat_interleave(width)
    columns = torch.arange(width, device=points.device).repeat(height)
    cells = torch.stack((columns, rows), dim=1)  # (h w, 2) as x, y
    clicked = (points * width / image_size).floor()
    distance = (cells - clicked[:, :, None]).norm(dim=-1)  # (B, P, h w)
    on_object = (labels == OBJECT)[..., None]
    far = (distance.masked_fill(~on_object, torch.inf) > FAR_FROM_CLICK * width).all(1)
    known = (distance == 0).any(1) | far

    places = torch.arange(4 * width, device=points.device) + 0.5
    offset = places - points[..., None] * 4 * width / image_size  # (B, P, 2, 4 w)
    near = offset[:, :, 1, :, None] ** 2 + offset[:, :, 0, None, :] ** 2 < CLICKED_RADIUS**2
    marked = (near & on_object[..., None]).any(1, keepdim=True)
    return known, torch.where(marked, 1.0, -1.0)
