"""Prompt encoder: clicks, boxes and rough masks become tokens and a map (Kirillov et al., Segment Anything,
2023).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .layers import LayerNorm2d
from .position_encoding import RandomFourierPositions

PADDING, BACKGROUND, OBJECT, BOX_START, BOX_END = -1, 0, 1, 2, 3
"""Labels of points: no point at all, a click on the background, on the object, a box's two corners."""

DRAWN_LOGIT = 10.0
"""How sure a drawn prompt is, as a mask logit."""

CLICK_RADIUS = 2.0
"""Standard deviation of a drawn click, in pixels of the low-resolution mask."""


class PromptEncoder(nn.Module):
    """Encodes prompts for the mask decoder.

    Args:
        channels: channels of tokens and map.
        image_size: side of the model's square input, pixels.
        grid: height and width of the image embedding.
    """

    def __init__(self, channels: int, image_size: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.image_size = image_size
        self.grid = grid
        self.pe_layer = RandomFourierPositions(channels)
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, channels) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, channels)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, 2, stride=2),
            LayerNorm2d(4),
            nn.GELU(),
            nn.Conv2d(4, 16, 2, stride=2),
            LayerNorm2d(16),
            nn.GELU(),
            nn.Conv2d(16, channels, 1),
        )
        self.no_mask_embed = nn.Embedding(1, channels)

    def image_position(self) -> Tensor:
        """Position encoding of the image embedding. Returns: (1, C, h, w)."""
        return self.pe_layer.grid(*self.grid)

    def embed_points(self, points: Tensor, labels: Tensor) -> Tensor:
        """Points (B, P, 2) pixels of the model's input, labels (B, P) -> tokens (B, P + 1, C).

        One token that stands for no point is appended, as SAM was trained.
        """
        points = torch.cat((points + 0.5, points.new_zeros(len(points), 1, 2)), dim=1)
        labels = torch.cat((labels, labels.new_full((len(labels), 1), PADDING)), dim=1)
        kinds = torch.cat(
            [kind.get_parameter("weight") for kind in (self.not_a_point_embed, *self.point_embeddings)]
        )
        positions = self.pe_layer(points / self.image_size) * (labels != PADDING).unsqueeze(-1)
        return positions + kinds[(labels + 1).long()]

    def draw(self, points: Tensor, labels: Tensor, mask_logits: Tensor | None) -> Tensor:
        """Prompts as a rough mask: sam2_nano's way to see them.

        A box is filled and its outside emptied; a click is a bump, upwards on the object and downwards on the
        background; both are added to the mask that is to be corrected, if there is one.

        Args:
            points: (B, P, 2) x, y in pixels of the model's input.
            labels: (B, P).
            mask_logits: (B, 1, 4 h, 4 w) or None.

        Returns: (B, 1, 4 h, 4 w) logits.
        """
        height, width = 4 * self.grid[0], 4 * self.grid[1]
        x = torch.arange(width, device=points.device, dtype=points.dtype)
        y = torch.arange(height, device=points.device, dtype=points.dtype)
        places = points * (width / self.image_size)
        sign = (labels == OBJECT).to(points.dtype) - (labels == BACKGROUND).to(points.dtype)
        squared = (x + 0.5 - places[..., :1])[:, :, None] ** 2 + (y + 0.5 - places[..., 1:])[..., None] ** 2
        bumps = sign[..., None, None] * torch.exp(-squared / (2 * CLICK_RADIUS**2))
        drawn = DRAWN_LOGIT * bumps.sum(1)
        for corner in (labels == BOX_START).nonzero():
            row, column = corner.tolist()
            low, high = places[row, column], places[row, column + 1]
            # share of every column and row of pixels that lies inside
            inside_x = (torch.minimum(x + 1, high[0]) - torch.maximum(x, low[0])).clamp(0, 1)
            inside_y = (torch.minimum(y + 1, high[1]) - torch.maximum(y, low[1])).clamp(0, 1)
            box = (2 * inside_y[:, None] * inside_x - 1) * DRAWN_LOGIT
            drawn = torch.cat((drawn[:row], drawn[row : row + 1] + box, drawn[row + 1 :]))
        return drawn[:, None] if mask_logits is None else mask_logits + drawn[:, None]

    def forward(
        self, points: Tensor | None, labels: Tensor | None, mask_logits: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Encode one prompt per object.

        Args:
            points: (B, P, 2) x, y in pixels of the model's input, or None if there is only a mask.
            labels: (B, P) integers, see the constants above.
            mask_logits: (B, 1, 4 h, 4 w) logits of a rough mask, or None.

        Returns: tokens (B, P + 1, C), or (1, 0, C) without points, and a map that broadcasts with (B, C, h,
            w).
        """
        if points is None or labels is None:
            tokens = self.no_mask_embed.weight.new_zeros(1, 0, self.no_mask_embed.embedding_dim)
        else:
            tokens = self.embed_points(points, labels)
        if mask_logits is None:
            return tokens, self.no_mask_embed.weight[..., None, None]
        return tokens, self.mask_downscaling(mask_logits)
