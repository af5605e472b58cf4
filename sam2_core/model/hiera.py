"""Hiera: the hierarchical vision transformer that encodes images in SAM 2 (Ryali et al., 2023)."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import MLP
from .linear import add_feed_forward, add_linear, linear

TOKENS_AT_ONCE = 16384
"""How many tokens a processor takes through the first blocks at a time: it bounds what lies between."""


def pool(x: Tensor) -> Tensor:
    """2x2 maximum: (B, H, W, C) -> (B, H / 2, W / 2, C)."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1)


def split_windows(x: Tensor, window: int, filling: Tensor | None = None) -> Tensor:
    """Cut maps into squares.

    Args:
        x: (B, H, W, C).
        window: side of a square, tokens.
        filling: (C,) what stands beyond the right and the bottom edge; None: H and W are multiples of window.

    Returns: (B * windows, window, window, C), row by row.
    """
    batch, height, width, channels = x.shape
    if height % window or width % window:
        assert filling is not None, f"a map of {height} x {width} does not divide into windows of {window}"
        filled = filling.repeat(batch, height + -height % window, width + -width % window, 1)
        filled[:, :height, :width] = x
        x = filled
    x = x.unflatten(1, (-1, window)).unflatten(3, (-1, window)).transpose(2, 3)
    return x.reshape(-1, window, window, channels)


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

    def forward(self, x: Tensor, window: int, residual: Tensor) -> Tensor:
        """Attend and add to the residual.

        Args:
            x: (B, H, W, in_channels).
            window: side of the windows; 0: each of the B maps is one.
            residual: (B, H, W, channels), half the height and width if it pools.

        Returns: as residual.
        """
        # SAM 2 fills windows up with zeros before the projection, which makes its bias of them
        qkv = linear(x, self.qkv)
        if window:
            qkv = split_windows(qkv, window, self.qkv.bias)
        q, k, v = qkv.chunk(3, dim=3)
        if self.pools:
            q = pool(q)
        side = q.shape[1]
        q, k, v = (t.flatten(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2) for t in (q, k, v))
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        if window:
            attended = join_windows(attended.unflatten(1, (side, -1)), *residual.shape[1:3])
        return add_linear(attended.reshape(residual.shape), self.proj, residual)


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
        """(B, H, W, in_channels) -> (B, H, W, channels), half the height and width if it pools.

        The B maps are images, or windows of the block's own size.
        """
        normed = self.norm1(x)
        if self.widens:
            x = linear(normed, self.proj)
            x = pool(x) if self.pools else x
        x = self.attn(normed, 0 if self.window == normed.shape[1] else self.window, x)
        widen, narrow = cast(list[nn.Linear], list(self.mlp.layers))
        return add_feed_forward(self.norm2(x), widen, narrow, "gelu", x)


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
        self.window = windows[0]
        self.windowed = self._count_windowed()
        self.channels = [channels << stage for stage in range(len(depths))]

    def _count_windowed(self) -> int:
        """How many of the first blocks attend within windows that lie in those of the block before."""
        side = self.window
        for number, block in enumerate(self.blocks):
            if block.window != side:
                return number
            side = side // 2 if block.pools else side
        return len(self.blocks)

    def position_embedding(self, height: int, width: int) -> Tensor:
        """Returns: (1, height, width, C)."""
        window = self.pos_embed_window.shape[-1]
        background = torch.einsum(
            "hi,wj,cij->hwc",
            _enlargement(self.pos_embed.shape[2], height).to(self.pos_embed),
            _enlargement(self.pos_embed.shape[3], width).to(self.pos_embed),
            self.pos_embed[0],
        )
        repeated = self.pos_embed_window.tile(1, 1, -(-height // window), -(-width // window))
        return background + repeated[:, :, :height, :width].permute(0, 2, 3, 1)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, H, W) -> the stages' maps (B, C_i, H / s, W / s) at strides s = 4, 8, 16, 32."""
        x = self.patch_embed(images)
        height, width = x.shape[1:3]
        x = x + self.position_embedding(height, width)
        if x.device.type == "cpu":
            rows = self.window * max(1, TOKENS_AT_ONCE // (self.window * width * len(images)))
        else:
            rows = height
        bands = [self._windowed(band) for band in x.split(rows, dim=1)]
        *stages, x = (torch.cat(parts, dim=1) for parts in zip(*bands, strict=True))
        for number, block in enumerate(self.blocks[self.windowed :], self.windowed):
            x = block(x)
            if number in self.stage_ends:
                stages.append(x)
        return [stage.permute(0, 3, 1, 2) for stage in stages]

    def _windowed(self, band: Tensor) -> list[Tensor]:
        """The first blocks, for some rows of the map.

        Windows are pooled along with the map, so that those of one block are those of the next: each goes
        through all of these blocks on its own, without being put back into the map in between.

        Returns: (B, H / s, W / s, C) of the stages that end here, and of the last of these blocks.
        """
        x = split_windows(band, self.window)
        ends = []
        for number, block in enumerate(self.blocks[: self.windowed]):
            x = block(x)
            if number in self.stage_ends or number == self.windowed - 1:
                smaller = self.window // x.shape[1]
                ends.append(join_windows(x, band.shape[1] // smaller, band.shape[2] // smaller))
        return ends


def _enlargement(old: int, new: int) -> Tensor:
    """(new, old) matrix that enlarges a row of numbers as `F.interpolate` does bicubically."""
    return F.interpolate(torch.eye(old)[None, :, :, None], size=(new, 1), mode="bicubic")[0, :, :, 0].T
