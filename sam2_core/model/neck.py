"""Necks: from the trunk's maps at four strides to the features that the rest of the model uses."""

from __future__ import annotations

from collections import OrderedDict
from itertools import zip_longest
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from .linear import pointwise


class FpnNeck(nn.Module):
    """SAM 2's feature pyramid: a 1x1 projection per stride; only stride 16 receives the coarser map (stride
    32).

    Args:
        trunk_channels: channels of the trunk's maps, finest first.
        channels: channels of every output.
    """

    def __init__(self, trunk_channels: list[int], channels: int) -> None:
        super().__init__()
        # official checkpoints number the projections from the coarsest map on
        self.convs = nn.ModuleList(
            nn.Sequential(OrderedDict(conv=nn.Conv2d(inputs, channels, 1)))
            for inputs in reversed(trunk_channels)
        )

    def forward(self, stages: list[Tensor], *following: nn.Conv2d) -> list[Tensor]:
        """Project the trunk's maps.

        Args:
            stages: maps at strides 4, 8, 16, 32.
            following: 1x1 convolutions by which the maps at strides 4 and 8 go on, if they are wanted: done
                in one with the projections, so that the wide maps between never exist.

        Returns: maps (B, channels, H / s, W / s) at strides s = 4, 8, 16; of other channels after
            `following`.
        """
        convs = [cast(nn.Conv2d, step.get_submodule("conv")) for step in reversed(self.convs)]
        fine, middle, coarse, coarsest = (
            pointwise(stage, conv, then) for stage, conv, then in zip_longest(stages, convs, following)
        )
        return [fine, middle, coarse + F.interpolate(coarsest, scale_factor=2.0, mode="nearest")]


class TopDownNeck(nn.Module):
    """sam2_nano's pyramid: every map receives the coarser one, narrow where the resolution is high.

    Args:
        trunk_channels: channels of the trunk's maps at strides 4, 8, 16, 32.
        channels: channels of the outputs at strides 4, 8, 16.
    """

    def __init__(self, trunk_channels: list[int], channels: tuple[int, int, int]) -> None:
        super().__init__()
        c4, c8, c16 = channels
        self.lateral4 = nn.Conv2d(trunk_channels[0], c4, 1)
        self.lateral8 = nn.Conv2d(trunk_channels[1], c8, 1)
        self.lateral16 = nn.Conv2d(trunk_channels[2], c16, 1)
        self.lateral32 = nn.Conv2d(trunk_channels[3], c16, 1)
        self.top8 = nn.Conv2d(c16, c8, 1)
        self.top4 = nn.Conv2d(c8, c4, 1)
        self.smooth16 = nn.Sequential(
            nn.ReLU(), nn.Conv2d(c16, c16, 3, padding=1, groups=c16), nn.Conv2d(c16, c16, 1)
        )
        self.smooth8 = nn.Sequential(nn.ReLU(), nn.Conv2d(c8, c8, 3, padding=1))
        self.smooth4 = nn.Sequential(nn.ReLU(), nn.Conv2d(c4, c4, 3, padding=1))

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        """Maps at strides 4, 8, 16, 32 -> maps (B, channels[i], H / s, W / s) at strides s = 4, 8, 16."""
        x4, x8, x16, x32 = stages
        f16 = self.lateral16(x16) + F.interpolate(self.lateral32(x32), scale_factor=2.0, mode="nearest")
        p16 = f16 + self.smooth16(f16)
        f8 = self.lateral8(x8) + F.interpolate(self.top8(p16), scale_factor=2.0, mode="bilinear")
        p8 = f8 + self.smooth8(f8)
        f4 = self.lateral4(x4) + F.interpolate(self.top4(p8), scale_factor=2.0, mode="bilinear")
        p4 = f4 + self.smooth4(f4)
        return [p4, p8, p16]


class ImageEncoder(nn.Module):
    """Trunk and neck: image (B, 3, H, W) -> maps at strides 4, 8, 16, see the necks."""

    def __init__(self, trunk: nn.Module, neck: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.neck = neck

    def forward(self, images: Tensor, *following: nn.Conv2d) -> list[Tensor]:
        return self.neck(self.trunk(images), *following)
