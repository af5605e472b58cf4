"""Attention, plain and with rotary positions on a grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ROPE_THETA = 10_000.0  # Su et al., RoFormer, 2021, section 3.2.2


class Attention(nn.Module):
    """Multi-head attention with projections of queries, keys and values.

    Args:
        channels: channels of the queries and of the output.
        heads: number of heads.
        downsample_rate: the heads together are `channels / downsample_rate` wide.
        memory_channels: channels of keys and values; None: as the queries.
    """

    def __init__(
        self, channels: int, heads: int, downsample_rate: int = 1, memory_channels: int | None = None
    ) -> None:
        super().__init__()
        inner = channels // downsample_rate
        self.heads = heads
        self.q_proj = nn.Linear(channels, inner)
        self.k_proj = nn.Linear(memory_channels or channels, inner)
        self.v_proj = nn.Linear(memory_channels or channels, inner)
        self.out_proj = nn.Linear(inner, channels)

    def split(self, x: Tensor) -> Tensor:
        """(B, N, C) -> (B, heads, N, C / heads)."""
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Q (B, N, C), k and v (B, M, memory_channels) -> (B, N, C)."""
        q, k, v = self.split(self.q_proj(q)), self.split(self.k_proj(k)), self.split(self.v_proj(v))
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


def axial_frequencies(size: tuple[int, int], channels: int) -> tuple[Tensor, Tensor]:
    """Angles of the axial rotary encoding (Heo et al., RoPE for Vision Transformer, 2024, section 3.2).

    The first half of the channel pairs turns with x, the second with y.

    Returns: cosines and sines, each (height * width, channels / 2).
    """
    height, width = size
    frequencies = 1.0 / ROPE_THETA ** (torch.arange(0, channels, 4)[: channels // 4].float() / channels)
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    angles = torch.cat((torch.outer(x.flatten(), frequencies), torch.outer(y.flatten(), frequencies)), dim=1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Turn neighbouring channel pairs by the grid's angles; a complex product in real numbers.

    Args:
        x: (B, heads, r * N, D): r grids of N tokens, one after the other.
        cosines: (N, D / 2).
        sines: (N, D / 2).

    Returns: the same shape as x.
    """
    pairs = x.unflatten(-1, (-1, 2)).unflatten(2, (-1, cosines.shape[0]))
    a, b = pairs[..., 0], pairs[..., 1]
    turned = torch.stack((a * cosines - b * sines, a * sines + b * cosines), dim=-1)
    return turned.flatten(-2).flatten(2, 3)


SCORES_AT_ONCE = 2**22
"""How many attention scores are held at a time: 16 MiB, what a processor's cache takes."""


def weigh(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None) -> Tensor:
    """Single-head attention to values that have not been projected yet.

    Weights add up to one, so a linear projection may follow the weighted sum as well as precede it. Where
    values are narrower than their projection, that saves most of the second matrix product.

    Args:
        q: (B, N, D).
        k: (B, M, D).
        v: (B, M, E).
        visible: bool (B, M), the keys that may be looked at; None: all.

    Returns: (B, N, E).
    """
    scaled = q * q.shape[2] ** -0.5
    sums = []
    for part in scaled.split(max(1, SCORES_AT_ONCE // (k.shape[0] * k.shape[1])), dim=1):
        scores = part @ k.transpose(1, 2)
        if visible is not None:
            scores = scores.masked_fill(~visible[:, None], -torch.inf)
        sums.append(scores.softmax(dim=2) @ v)
    return torch.cat(sums, dim=1)


class RoPEAttention(Attention):
    """Attention whose queries and keys are turned by their place in the image.

    Queries are one grid of tokens. Keys are any number of grids of the same size, then tokens without a
    place (object pointers). A single query may serve a batch of memories: q of batch 1 is shared by all of
    them.
    """

    cosines: Tensor
    sines: Tensor

    def __init__(
        self, channels: int, heads: int, grid: tuple[int, int], memory_channels: int | None = None
    ) -> None:
        super().__init__(channels, heads, memory_channels=memory_channels)
        cosines, sines = axial_frequencies(grid, channels // heads)
        self.register_buffer("cosines", cosines, persistent=False)
        self.register_buffer("sines", sines, persistent=False)

    def forward(
        self, q: Tensor, k: Tensor, v: Tensor, placeless: int = 0, visible: Tensor | None = None
    ) -> Tensor:
        """Attend from one grid to the keys' grids.

        Args:
            q: (1 or B, N, C).
            k: (B, r * N + placeless, memory_channels).
            v: (B, r * N + placeless, memory_channels).
            placeless: how many keys at the end have no place in the image.
            visible: bool (B, r * N + placeless), which keys may be looked at; None: all.

        Returns: (B, N, C).
        """
        q, k = self.split(self.q_proj(q)), self.split(self.k_proj(k))
        placed = k.shape[2] - placeless
        q = rotate(q, self.cosines, self.sines).expand(k.shape[0], -1, -1, -1)
        turned = rotate(k[:, :, :placed], self.cosines, self.sines)
        k = torch.cat((turned, k[:, :, placed:]), dim=2) if placeless else turned
        if self.heads == 1 and v.shape[2] < k.shape[3] and v.device.type == "cpu":
            attended = self.v_proj(weigh(q[:, 0], k[:, 0], v, visible))
        else:
            v = self.split(self.v_proj(v))
            mask = None if visible is None else visible[:, None, None, :]
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        return self.out_proj(attended)
