"""Small building blocks that several parts of the model share."""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

FEW_CHANNELS = 4
"""So many channels fill no vector register: `F.layer_norm`, which goes pixel by pixel, takes more than three
times as long as the same arithmetic on whole channels.
"""


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of a feature map.

    Input and output: (B, C, H, W); every pixel is normalised on its own.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] <= FEW_CHANNELS and x.device.type == "cpu":
            return self._by_planes(x)
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)

    def _by_planes(self, x: Tensor) -> Tensor:
        """The same, a whole channel at a time."""
        planes = x.unbind(1)
        mean = sum(planes[1:], planes[0]) / len(planes)
        centred = [plane - mean for plane in planes]
        variance = sum((plane.square() for plane in centred[1:]), centred[0].square()) / len(planes)
        scale = (variance + self.eps).rsqrt()
        affine = zip(centred, self.weight, self.bias, strict=True)
        scaled = [bias + weight * (plane * scale) for plane, weight, bias in affine]
        return torch.stack(scaled, dim=-1).permute(0, 3, 1, 2)


class MLP(nn.Module):
    """Linear layers with an activation between them.

    Input: (..., in_features). Output: (..., out_features), through a sigmoid if `sigmoid_output`.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int,
        out_features: int,
        depth: int,
        activation: type[nn.Module] = nn.ReLU,
        sigmoid_output: bool = False,
    ) -> None:
        super().__init__()
        widths = [in_features] + [hidden] * (depth - 1) + [out_features]
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.activation = activation()
        self.sigmoid_output = sigmoid_output

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        x = self.layers[-1](x)
        return torch.sigmoid(x) if self.sigmoid_output else x


class ResidualUpscaling(nn.Module):
    """GELU followed by a 3x3 residual block: the mask decoder's refinement in sam2_nano.

    Input and output: (B, C, H, W). It stands where SAM 2 has a bare GELU.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(x)
        return F.gelu(x + self.conv2(F.gelu(self.conv1(x))))


def to_tokens(x: Tensor) -> Tensor:
    """Feature map (B, C, H, W) -> tokens (B, H * W, C), row by row."""
    return x.flatten(2).transpose(1, 2)


def to_map(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Tokens (B, H * W, C) -> feature map (B, C, H, W)."""
    return x.transpose(1, 2).unflatten(2, size)
