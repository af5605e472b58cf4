"""Attention, plain and with rotary positions on a grid."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .linear import linear, product

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


def axial_turns(size: tuple[int, int], channels: int) -> Tensor:
    """Rotations of the axial rotary encoding (Heo et al., RoPE for Vision Transformer, 2024, section 3.2).

    The first half of the channel pairs turns with x, the second with y.

    Returns: (height * width, channels / 2, 2) cosines and sines.
    """
    height, width = size
    frequencies = 1.0 / ROPE_THETA ** (torch.arange(0, channels, 4)[: channels // 4].float() / channels)
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    angles = torch.cat((torch.outer(x.flatten(), frequencies), torch.outer(y.flatten(), frequencies)), dim=1)
    return torch.stack((angles.cos(), angles.sin()), dim=2)


def rotate(x: Tensor, turns: Tensor, placeless: int = 0) -> Tensor:
    """Turn neighbouring channel pairs by the grid's angles: a product of complex numbers.

    Args:
        x: (B, heads, r * N + placeless, D): r grids of N tokens, one after the other, then tokens without a
            place, which stay as they are. Overwritten: nobody else may need it.
        turns: (N, D / 2, 2).
        placeless: how many tokens have no place.

    Returns: the same shape as x.
    """
    turned = x.float()
    placed = turned[:, :, : x.shape[2] - placeless]
    pairs = placed.unflatten(-1, (-1, 2)).unflatten(2, (-1, turns.shape[0]))
    torch.view_as_complex(pairs).mul_(torch.view_as_complex(turns.float()))
    return turned.to(x.dtype)


SCORES_AT_ONCE = 2**21
"""How many attention scores are held at a time: 8 MiB, what a processor's cache takes."""

FEWEST_ROWS = 128
"""Of so many queries at least, for the sake of the matrix products."""


def weigh(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None) -> Tensor:
    """Single-head attention to values that have not been projected yet.

    Weights add up to one, so a linear projection may follow the weighted sum as well as precede it. Where
    values are narrower than their projection, that saves most of the second matrix product.

    Args:
        q: (1 or B, N, D); a batch of 1 serves all.
        k: (B, M, D).
        v: (B, M, E).
        visible: bool (B, M), the keys that may be looked at; None: all.

    Returns: (B, N, E).
    """
    scaled = q * q.shape[2] ** -0.5
    rows = max(FEWEST_ROWS, SCORES_AT_ONCE // k.shape[1])
    sums = []
    for number, (keys, values) in enumerate(zip(k, v.transpose(1, 2).contiguous(), strict=True)):
        for part in scaled[number % len(scaled)].split(rows):
            scores = product(part, keys)
            if visible is not None:
                scores = scores.masked_fill(~visible[number], -torch.inf)
            sums.append(product(scores.softmax(dim=1), values))
    return torch.cat(sums).unflatten(0, (len(k), -1))


class RoPEAttention(Attention):
    """Attention whose queries and keys are turned by their place in the image.

    Queries are one grid of tokens. Keys are any number of grids of the same size, then tokens without a
    place (object pointers). A single query may serve a batch of memories: q of batch 1 is shared by all of
    them.
    """

    turns: Tensor

    def __init__(
        self, channels: int, heads: int, grid: tuple[int, int], memory_channels: int | None = None
    ) -> None:
        super().__init__(channels, heads, memory_channels=memory_channels)
        self.register_buffer("turns", axial_turns(grid, channels // heads), persistent=False)

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

        Returns: (B, N, C), before the last projection `out_proj`.
        """
        queries = rotate(self.split(linear(q, self.q_proj)), self.turns)
        keys = rotate(self.split(linear(k, self.k_proj)), self.turns, placeless)
        if self.heads == 1 and v.device.type == "cpu":
            return linear(weigh(queries[:, 0], keys[:, 0], v, visible), self.v_proj)
        values = self.split(self.v_proj(v))
        queries = queries.expand(len(keys), -1, -1, -1)
        mask = None if visible is None else visible[:, None, None, :]
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return attended.transpose(1, 2).flatten(2)
