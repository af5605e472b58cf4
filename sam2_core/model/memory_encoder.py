"""Memory encoder: an image's features and an object's mask become a memory (SAM 2, section 4)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from .layers import LayerNorm2d
from .linear import add_feed_forward, pointwise


class MaskDownsampler(nn.Module):
    """Mask (B, 1, H, W) -> (B, C, H / 16, W / 16): four halvings, each with four times the channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 1
        for _ in range(4):
            layers += [nn.Conv2d(width, 4 * width, 3, stride=2, padding=1), LayerNorm2d(4 * width), nn.GELU()]
            width *= 4
        self.encoder = nn.Sequential(*layers, nn.Conv2d(width, channels, 1))

    def forward(self, mask: Tensor) -> Tensor:
        return pointwise(self.encoder[:-1](mask), cast(nn.Conv2d, self.encoder[-1]))


class ConvNeXtBlock(nn.Module):
    """Depthwise 7x7, then a pointwise bottleneck (Liu et al., A ConvNet for the 2020s, 2022)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = LayerNorm2d(channels)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)
        self.gamma = nn.Parameter(1e-6 * torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        tokens, y = (t.permute(0, 2, 3, 1) for t in (x, self.norm(self.dwconv(x))))
        tokens = add_feed_forward(y, self.pwconv1, self.pwconv2, "gelu", tokens, self.gamma)
        return tokens.permute(0, 3, 1, 2)


class Fuser(nn.Module):
    """Two ConvNeXt blocks: (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ConvNeXtBlock(channels) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class MemoryEncoder(nn.Module):
    """Fuses the image with the mask and narrows the result to the memory's channels."""

    def __init__(self, channels: int, memory_channels: int) -> None:
        super().__init__()
        self.mask_downsampler = MaskDownsampler(channels)
        self.pix_feat_proj = nn.Conv2d(channels, channels, 1)
        self.fuser = Fuser(channels)
        self.out_proj = nn.Conv2d(channels, memory_channels, 1)

    def forward(self, image: Tensor, mask: Tensor) -> Tensor:
        """Image (1 or B, C, h, w), scaled mask (B, 1, 16 h, 16 w) -> memory (B, memory_channels, h, w)."""
        fused = self.fuser(pointwise(image, self.pix_feat_proj) + self.mask_downsampler(mask))
        return pointwise(fused, self.out_proj)
