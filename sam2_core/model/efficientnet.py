"""EfficientNet-Lite0 without its head: the trunk of sam2_nano.

Tan and Le, EfficientNet, 2019; the Lite variant has ReLU6 for SiLU and no squeeze-and-excitation. Batch
normalisation is folded into the convolutions, so the weights are those of an inference graph.
"""

from __future__ import annotations

from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from .linear import convolve, pointwise

# (kernel, stride, expansion, input channels, output channels) of blocks 0 to 14
BLOCKS = (
    (3, 1, 1, 32, 16),
    (3, 2, 6, 16, 24),
    (3, 1, 6, 24, 24),
    (5, 2, 6, 24, 40),
    (5, 1, 6, 40, 40),
    (3, 2, 6, 40, 80),
    (3, 1, 6, 80, 80),
    (3, 1, 6, 80, 80),
    (5, 1, 6, 80, 112),
    (5, 1, 6, 112, 112),
    (5, 1, 6, 112, 112),
    (5, 2, 6, 112, 192),
    (5, 1, 6, 192, 192),
    (5, 1, 6, 192, 192),
    (5, 1, 6, 192, 192),
)
TAPS = (2, 4, 10, 14)  # the last block of each resolution: strides 4, 8, 16, 32


class SameConv2d(nn.Conv2d):
    """Convolution and ReLU6, padded as TensorFlow's SAME does: with stride 2 the extra row and column are at
    the far side.
    """

    def forward(self, x: Tensor) -> Tensor:
        kernel, stride = self.kernel_size[0], self.stride[0]
        # a kernel with a zero row and column in front does the same with even padding: no copy of the map
        weight = self.weight if stride == 1 else F.pad(self.weight, (1, 0, 1, 0))
        return convolve(x, weight, self.bias, stride, kernel // 2, self.groups, "relu6")


class InvertedResidual(nn.Module):
    """Widen by 1x1, filter each channel, project back linearly (Sandler et al., MobileNetV2, 2018)."""

    def __init__(self, kernel: int, stride: int, expansion: int, inputs: int, outputs: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = nn.Conv2d(inputs, wide, 1) if expansion > 1 else None
        self.depthwise = SameConv2d(wide, wide, kernel, stride, groups=wide)
        self.project = nn.Conv2d(wide, outputs, 1)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = x if self.expand is None else pointwise(x, self.expand, activation="relu6")
        y = pointwise(self.depthwise(y), self.project)
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """Image (B, 3, H, W) -> maps of 24, 40, 112 and 192 channels at strides 4, 8, 16 and 32."""

    channels: ClassVar[list[int]] = [BLOCKS[tap][-1] for tap in TAPS]

    def __init__(self) -> None:
        super().__init__()
        self.stem = SameConv2d(3, 32, 3, 2)
        self.blocks = nn.ModuleList(InvertedResidual(*block) for block in BLOCKS)

    def forward(self, images: Tensor) -> list[Tensor]:
        x = self.stem(images)
        stages = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in TAPS:
                stages.append(x)
        return stages
