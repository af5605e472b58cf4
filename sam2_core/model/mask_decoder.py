"""Mask decoder: from image embedding and prompt tokens to masks, their quality, and the object's presence."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .layers import MLP, LayerNorm2d, ResidualUpscaling, to_map, to_tokens
from .transformer import TwoWayTransformer

MASKS = 4  # one for unambiguous prompts, then three for ambiguous ones
STABILITY_DELTA = 0.05
STABILITY_THRESHOLD = 0.98


class DecodedMasks(NamedTuple):
    """What the decoder says of B objects, K masks each (4, the single mask first)."""

    logits: Tensor  # (B, K, 4 h, 4 w)
    quality: Tensor  # (B, K) predicted IoU
    tokens: Tensor  # (B, K, C) the masks' output tokens
    presence_logit: Tensor  # (B, 1)


def stability(logits: Tensor) -> Tensor:
    """How little a mask changes when its threshold moves: IoU of the masks at +delta and -delta.

    (..., H, W) -> (...,); an empty mask counts as stable. Delta and threshold are SAM 2's own.
    """
    inner = (logits > STABILITY_DELTA).flatten(-2).sum(-1).float()
    outer = (logits > -STABILITY_DELTA).flatten(-2).sum(-1).float()
    return torch.where(outer > 0, inner / outer, 1.0)


class MaskDecoder(nn.Module):
    """SAM's mask decoder with high-resolution features and an object score.

    Args:
        channels: channels of image embedding and tokens.
        heads: attention heads.
        feed_forward: hidden channels of the transformer's feed-forward layers.
        quality_hidden: hidden channels of the head that predicts the IoU.
        residual_upscaling: sam2_nano's switch: a 3x3 residual block after each upscaling step, and
            high-resolution features that come ready from the neck instead of through 1x1 projections of
            `channels` wide ones.
    """

    def __init__(
        self, channels: int, heads: int, feed_forward: int, quality_hidden: int, residual_upscaling: bool
    ) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer(channels, heads, feed_forward)
        self.iou_token = nn.Embedding(1, channels)
        self.mask_tokens = nn.Embedding(MASKS, channels)
        self.obj_score_token = nn.Embedding(1, channels)
        half, quarter = channels // 4, channels // 8
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(channels, half, 2, stride=2),
            LayerNorm2d(half),
            ResidualUpscaling(half) if residual_upscaling else nn.GELU(),
            nn.ConvTranspose2d(half, quarter, 2, stride=2),
            ResidualUpscaling(quarter) if residual_upscaling else nn.GELU(),
        )
        self.projects = not residual_upscaling
        if self.projects:
            self.conv_s0 = nn.Conv2d(channels, quarter, 1)
            self.conv_s1 = nn.Conv2d(channels, half, 1)
        self.output_hypernetworks_mlps = nn.ModuleList(
            MLP(channels, channels, quarter, depth=3) for _ in range(MASKS)
        )
        self.iou_prediction_head = MLP(channels, quality_hidden, MASKS, depth=3, sigmoid_output=True)
        self.pred_obj_score_head = MLP(channels, channels, 1, depth=3)

    @property
    def high_resolution_convs(self) -> tuple[nn.Conv2d, ...]:
        """1x1 convolutions that the neck's maps at strides 4 and 8 go through before they come here."""
        return (self.conv_s0, self.conv_s1) if self.projects else ()

    def forward(
        self,
        image: Tensor,
        image_position: Tensor,
        prompt_tokens: Tensor,
        prompt_map: Tensor,
        high_resolution: tuple[Tensor, Tensor],
    ) -> DecodedMasks:
        """Decode B objects at once.

        Args:
            image: (B, C, h, w) image embedding, conditioned on each object's memory.
            image_position: (1, C, h, w).
            prompt_tokens: (B, T, C).
            prompt_map: broadcasts with (B, C, h, w).
            high_resolution: maps at strides 4 and 8, batch 1 or B, see `high_resolution_convs`.
        """
        size = (image.shape[2], image.shape[3])
        own = torch.cat((self.obj_score_token.weight, self.iou_token.weight, self.mask_tokens.weight))
        tokens = torch.cat((own.expand(len(prompt_tokens), -1, -1), prompt_tokens), dim=1)
        tokens, embedding = self.transformer(tokens, to_tokens(image + prompt_map), to_tokens(image_position))
        mask_tokens = tokens[:, 2 : 2 + MASKS]

        stride4, stride8 = high_resolution
        up1, norm, refine1, up2, refine2 = self.output_upscaling
        upscaled = refine1(norm(up1(to_map(embedding, size)) + stride8))
        upscaled = refine2(up2(upscaled) + stride4)
        weights = torch.stack(
            [mlp(mask_tokens[:, i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)], dim=1
        )
        logits = (weights @ upscaled.flatten(2)).unflatten(2, (4 * size[0], 4 * size[1]))
        return DecodedMasks(
            logits,
            self.iou_prediction_head(tokens[:, 1]),
            mask_tokens,
            self.pred_obj_score_head(tokens[:, 0]),
        )
