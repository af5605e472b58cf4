"""Linear layers with what follows them done on the way.

On a CPU, oneDNN multiplies small and narrow matrices faster than the BLAS behind `F.linear`, and adds a bias,
an activation or a residual while the result is still in the cache. PyTorch has these products for its
compiler; they know no gradients. Wherever they are not to be had, the same is computed step by step.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["none", "relu", "relu6", "gelu"]

_FUSED: dict[Activation, tuple[str, list[float], str]] = {
    "none": ("none", [], ""),
    "relu": ("relu", [], ""),
    "relu6": ("hardtanh", [0.0, 6.0], ""),
    "gelu": ("gelu", [], "none"),  # "none": not the tanh approximation
}
"""What oneDNN's products call the activations, and their constants."""


def has_fused(x: Tensor) -> bool:
    """Whether products of this tensor can go through oneDNN."""
    return (
        not torch.compiler.is_compiling()  # the compiler fuses by itself
        and x.device.type == "cpu"
        and not torch.is_grad_enabled()
        and torch.backends.mkldnn.is_available()
        and (x.dtype == torch.float32 or (x.dtype == torch.bfloat16 and _has_bfloat16()))
    )


@cache
def _has_bfloat16() -> bool:
    """Whether oneDNN multiplies bfloat16 numbers on this CPU, be it by instructions or by converting them."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def linear(x: Tensor, layer: nn.Linear, activation: Activation = "none") -> Tensor:
    """`activation(layer(x))`; the GELU is the exact one."""
    return product(x, layer.weight, layer.bias, activation)


def activated(x: Tensor, activation: Activation) -> Tensor:
    """`activation(x)`; x may be overwritten."""
    match activation:
        case "relu":
            return F.relu(x, inplace=True)
        case "relu6":
            return F.relu6(x, inplace=True)
        case "gelu":
            return F.gelu(x)
        case "none":
            return x


def add_linear(x: Tensor, layer: nn.Linear, residual: Tensor, scale: Tensor | None = None) -> Tensor:
    """`residual + scale * layer(x)`, with a scale (C,) per channel of the result, or none."""
    if has_fused(x):
        weight, bias = layer.weight.data, layer.bias.data
        if scale is not None:
            weight, bias = scale[:, None] * weight, scale * bias
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, weight, bias, "add")
    return residual + (layer(x) if scale is None else scale * layer(x))


def product(a: Tensor, b: Tensor, bias: Tensor | None = None, activation: Activation = "none") -> Tensor:
    """`activation(a @ b.T + bias)`: (..., K) and (M, K) -> (..., M)."""
    if has_fused(a):
        return torch.ops.mkldnn._linear_pointwise.default(a, b, bias, *_FUSED[activation])
    return activated(F.linear(a, b, bias), activation)


def convolve(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: int,
    padding: int,
    groups: int,
    activation: Activation,
) -> Tensor:
    """`activation(conv2d(x, weight, bias, ...))`."""
    if has_fused(x):
        return torch.ops.mkldnn._convolution_pointwise.default(
            x, weight, bias, [padding] * 2, [stride] * 2, [1, 1], groups, *_FUSED[activation]
        )
    return activated(F.conv2d(x, weight, bias, stride, padding, 1, groups), activation)


def pointwise(
    x: Tensor, conv: nn.Conv2d, following: nn.Conv2d | None = None, activation: Activation = "none"
) -> Tensor:
    """A 1x1 convolution, or two in a row as one product, and what follows.

    (B, C, H, W) -> (B, C', H, W); both fastest with the channels last in memory.
    """
    weight, bias = conv.weight[:, :, 0, 0], conv.bias
    assert bias is not None
    if following is not None:
        then = following.weight[:, :, 0, 0]
        weight, bias = then @ weight, F.linear(bias, then, following.bias)
    if not has_fused(x):
        return activated(F.conv2d(x, weight[:, :, None, None], bias), activation)
    return product(x.permute(0, 2, 3, 1), weight, bias, activation).permute(0, 3, 1, 2)


HIDDEN_AT_ONCE = 2**21
"""How many hidden numbers of a feed-forward layer are held at a time: 8 MiB, which stay in the cache."""


def add_feed_forward(
    x: Tensor,
    widen: nn.Linear,
    narrow: nn.Linear,
    activation: Activation,
    residual: Tensor,
    scale: Tensor | None = None,
) -> Tensor:
    """`residual + scale * narrow(activation(widen(x)))`, for tokens (..., C); see `add_linear`."""
    if not has_fused(x):
        return add_linear(linear(x, widen, activation), narrow, residual, scale)
    rows = max(1, HIDDEN_AT_ONCE // widen.out_features)
    parts = zip(x.flatten(0, -2).split(rows), residual.flatten(0, -2).split(rows), strict=True)
    sums = [add_linear(linear(part, widen, activation), narrow, rest, scale) for part, rest in parts]
    return torch.cat(sums).view_as(residual) if len(sums) > 1 else sums[0].view_as(residual)
