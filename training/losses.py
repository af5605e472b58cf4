"""The training loss: masks, their predicted quality, and the object's presence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

CROSS_ENTROPY, DICE, QUALITY, PRESENCE = 2.0, 1.0, 0.5, 0.3
RIM_WEIGHT = 4.0
LOSS_STRIDE = 2
"""Masks are compared at this stride: finer than the logits (stride 4), for contours learnt to the pixel."""


@dataclass(frozen=True)
class FrameLoss:
    """Losses of one frame, averaged over N objects (scalars), and the IoU of each.

    Attributes:
        total: What is minimised.
        iou: (N,) of the chosen mask, detached; NaN where the object is absent.
    """

    total: Tensor
    iou: Tensor


def reference(masks: Tensor, stride: int = LOSS_STRIDE) -> Tensor:
    """Coverage of coarser pixels: bool (N, S, S) -> float (N, S / stride, S / stride)."""
    return F.avg_pool2d(masks[:, None].float(), stride)[:, 0]


def rim_weights(target: Tensor) -> Tensor:
    """Weights 1 to 1 + RIM_WEIGHT, largest at the contour. (N, H, W) -> (N, H, W)."""
    blurred = F.avg_pool2d(target[:, None], 9, stride=1, padding=4, count_include_pad=False)[:, 0]
    return 1 + RIM_WEIGHT * (1 - (2 * blurred - 1).abs())


def mask_losses(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Loss and IoU of every candidate.

    Args:
        logits: (N, K, H, W) at stride 4.
        target: (N, 2 H, 2 W) coverage.

    Returns: loss (N, K), IoU (N, K) detached.
    """
    logits = F.interpolate(logits, size=target.shape[-2:], mode="bilinear", align_corners=False)
    wanted = target[:, None].expand_as(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    entropy = (entropy * rim_weights(target)[:, None]).flatten(2).mean(-1)
    chance = logits.sigmoid()
    overlap = (chance * wanted).flatten(2).sum(-1)
    dice = 1 - (2 * overlap + 16) / (chance.flatten(2).sum(-1) + wanted.flatten(2).sum(-1) + 16)
    with torch.no_grad():
        shown, true = logits > 0, wanted > 0.5
        union = (shown | true).flatten(2).sum(-1)
        iou = torch.where(union > 0, (shown & true).flatten(2).sum(-1) / union.clamp(min=1), 1.0)
    return CROSS_ENTROPY * entropy + DICE * dice, iou


def frame_loss(candidates: Tensor, quality: Tensor, presence_logit: Tensor, masks: Tensor) -> FrameLoss:
    """Loss of one frame.

    Where there are several candidates, only the best of each object learns to be better; all learn to
    know their quality.

    Args:
        candidates: (N, K, S / 4, S / 4) logits.
        quality: (N, K) predicted IoU.
        presence_logit: (N, 1).
        masks: bool (N, S, S), empty where the object is absent.
    """
    candidates, quality, presence_logit = (value.float() for value in (candidates, quality, presence_logit))
    target = reference(masks)
    visible = masks.flatten(1).any(1)
    loss, iou = mask_losses(candidates, target)
    best = loss.argmin(dim=1, keepdim=True)
    seen = visible[:, None].float()
    quality_error = ((quality - iou).abs() * seen).sum() / (seen.sum() * quality.shape[1]).clamp(min=1)
    presence = F.binary_cross_entropy_with_logits(presence_logit[:, 0], visible.float())
    total = loss.gather(1, best).mean() + QUALITY * quality_error + PRESENCE * presence
    chosen = iou.gather(1, quality.argmax(dim=1, keepdim=True))[:, 0]
    return FrameLoss(total, torch.where(visible, chosen, torch.nan))
