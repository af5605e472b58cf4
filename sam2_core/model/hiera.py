"""Hiera: the hierarchical vision transformer that encodes images in SAM 2 (Ryali et al., 2023)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import MLP


def pool(x: Tensor) -> Tensor:
    """2x2 maximum: (B, H, W, C) -> (B, H / 2, W / 2, C)."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def split_windows(x: Tensor, window: int) -> Tensor:
    """Cut a map into squares, filled up with zeros at the right and the bottom.

    (B, H, W, C) -> (B * windows, window, window, C).
    """
    height, width = x.shape[1:3]
    x = F.pad(x, (0, 0, 0, -width % window, 0, -height % window))
    x = x.unflatten(1, (-1, window)).unflatten(3, (-1, window))
    return x.transpose(2, 3).flatten(0, 2)


def join_windows(x: Tensor, height: int, width: int) -> Tensor:
    """Undo `split_windows`: (B * windows, window, window, C) -> (B, height, width, C)."""
    window = x.shape[1]
    rows, columns = -(-height // window), -(-width // window)
    x = x.unflatten(0, (-1, rows, columns)).transpose(2, 3).flatten(3, 4).flatten(1, 2)
    return x[:, :height, :width]


class MultiScaleAttention(nn.Module):
    """Attention among the tokens of a window; where a stage begins, the queries are pooled."""

    def __init__(self, in_channels: int, channels: int, heads: int, pools: bool) -> None:
        super().__init__()
        self.heads = heads
        self.pools = pools
        self.qkv = nn.Linear(in_channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, in_channels) -> (B, H, W, channels), half the height and width if it pools."""
        height, width = x.shape[1:3]
        q, k, v = self.qkv(x).flatten(1, 2).unflatten(2, (3, -1)).unbind(2)
        if self.pools:
            q = pool(q.unflatten(1, (height, width)))
            height, width = q.shape[1:3]
            q = q.flatten(1, 2)
        q, k, v = (t.unflatten(2, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.proj(attended.transpose(1, 2).flatten(2)).unflatten(1, (height, width))


class MultiScaleBlock(nn.Module):
    """One transformer block. `window` 0 means attention over the whole map."""

    def __init__(self, in_channels: int, channels: int, heads: int, window: int, pools: bool) -> None:
        super().__init__()
        self.window = window
        self.pools = pools
        self.norm1 = nn.LayerNorm(in_channels, eps=1e-6)
        self.attn = MultiScaleAttention(in_channels, channels, heads, pools)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.mlp = MLP(channels, 4 * channels, channels, depth=2, activation=nn.GELU)
        self.widens = in_channels != channels
        if self.widens:
            self.proj = nn.Linear(in_channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, in_channels) -> (B, H, W, channels), half the height and width if it pools."""
        normed = self.norm1(x)
        if self.widens:
            x = self.proj(normed)
            x = pool(x) if self.pools else x
        if self.window:
            x = x + join_windows(self.attn(split_windows(normed, self.window)), *x.shape[1:3])
        else:
            x = x + self.attn(normed)
        return x + self.mlp(self.norm2(x))


class PatchEmbedding(nn.Module):
    """Image (B, 3, H, W) -> patches (B, H / 4, W / 4, C), overlapping."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, 7, stride=4, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).permute(0, 2, 3, 1)


class Hiera(nn.Module):
    """The trunk: four stages, each of twice the channels and half the resolution of the one before.

    Args:
        channels: channels of the first stage.
        heads: attention heads of the first stage; they double with each stage as well.
        depths: blocks per stage.
        windows: window size per stage, in tokens; the first block of a stage still uses the previous stage's.
        global_blocks: numbers of the blocks that attend over the whole map.
        background_size: height and width of the learnt position embedding, enlarged to the map's size and
            added to one that repeats with every window (Bolya et al., Window Attention is Bugged, 2023).
    """

    def __init__(
        self,
        channels: int,
        heads: int,
        depths: tuple[int, ...],
        windows: tuple[int, ...],
        global_blocks: tuple[int, ...],
        background_size: tuple[int, int],
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(channels)
        self.pos_embed = nn.Parameter(torch.zeros(1, channels, *background_size))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, channels, windows[0], windows[0]))
        self.blocks = nn.ModuleList()
        self.stage_ends: list[int] = []
        previous = channels
        for stage, depth in enumerate(depths):
            for block in range(depth):
                begins = stage > 0 and block == 0
                number = len(self.blocks)
                window = 0 if number in global_blocks else windows[stage - 1 if begins else stage]
                self.blocks.append(
                    MultiScaleBlock(previous, channels << stage, heads << stage, window, pools=begins)
                )
                previous = channels << stage
            self.stage_ends.append(len(self.blocks) - 1)
        self.channels = [channels << stage for stage in range(len(depths))]

    def position_embedding(self, height: int, width: int) -> Tensor:
        """Returns: (1, height, width, C)."""
        window = self.pos_embed_window.shape[-1]
        background = F.interpolate(self.pos_embed, size=(height, width), mode="bicubic")
        repeated = self.pos_embed_window.tile(1, 1, -(-height // window), -(-width // window))
        return (background + repeated[:, :, :height, :width]).permute(0, 2, 3, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the stages' maps (B, C_i, H / s, W / s) at strides s = 4, 8, 16, 32."""
        x = self.patch_embed(images)
        x = x + self.position_embedding(*x.shape[1:3])
        stages = []
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in self.stage_ends:
                stages.append(x.permute(0, 3, 1, 2))
        return stages
