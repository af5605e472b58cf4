"""Linear layers with what follows them done on the way.

On a CPU, oneDNN multiplies small and narrow matrices faster than the BLAS behind `F.linear`, and adds a bias,
an activation or a residual while the result is still in the cache. PyTorch has these products for its
compiler; they know no gradients. Wherever they are not to be had, the same is computed step by step.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Activation = Literal["none", "relu", "gelu"]


def has_fused(x: Tensor) -> bool:
    """Whether products of this tensor can go through oneDNN."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()  # the compiler fuses by itself
        and torch.backends.mkldnn.is_available()
    )


def linear(x: Tensor, layer: nn.Linear, activation: Activation = "none") -> Tensor:
    """`activation(layer(x))`; the GELU is the exact one."""
    if has_fused(x):
        algorithm = "none" if activation == "gelu" else ""  # not the tanh approximation
        return torch.ops.mkldnn._linear_pointwise.default(
            x, layer.weight, layer.bias, activation, [], algorithm
        )
    x = layer(x)
    if activation == "relu":
        return F.relu(x)
    return F.gelu(x) if activation == "gelu" else x


def add_linear(x: Tensor, layer: nn.Linear, residual: Tensor, scale: Tensor | None = None) -> Tensor:
    """`residual + scale * layer(x)`, with a scale (C,) per channel of the result, or none."""
    if has_fused(x):
        weight, bias = layer.weight.data, layer.bias.data
        if scale is not None:
            weight, bias = scale[:, None] * weight, scale * bias
        return torch.ops.mkldnn._linear_pointwise.binary(x, residual, weight, bias, "add")
    return residual + (layer(x) if scale is None else scale * layer(x))


def product(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    """`a @ b.T + bias`: (..., K) and (M, K) -> (..., M)."""
    if has_fused(a):
        return torch.ops.mkldnn._linear_pointwise.default(a, b, bias, "none", [], "")
    return F.linear(a, b, bias)


def pointwise(x: Tensor, conv: nn.Conv2d, following: nn.Conv2d | None = None) -> Tensor:
    """A 1x1 convolution, or two in a row as one product.

    (B, C, H, W) -> (B, C', H, W); both fastest with the channels last in memory.
    """
    weight, bias = conv.weight[:, :, 0, 0], conv.bias
    assert bias is not None
    if following is not None:
        then = following.weight[:, :, 0, 0]
        weight, bias = then @ weight, F.linear(bias, then, following.bias)
    return product(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


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
