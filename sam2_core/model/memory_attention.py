"""Memory attention: the current image's features look up what the memory knows of an object (SAM 2, section
4).
"""

from __future__ import annotations

from torch import Tensor, nn

from .linear import add_feed_forward, add_linear
from .rope_attention import RoPEAttention


class MemoryAttentionLayer(nn.Module):
    """Self-attention of the image, cross-attention to the memory, feed-forward."""

    def __init__(self, channels: int, memory_channels: int, feed_forward: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.self_attn = RoPEAttention(channels, 1, grid)
        self.cross_attn_image = RoPEAttention(channels, 1, grid, memory_channels)
        self.linear1 = nn.Linear(channels, feed_forward)
        self.linear2 = nn.Linear(feed_forward, channels)
        self.norm1 = nn.LayerNorm(channels)
        self.norm2 = nn.LayerNorm(channels)
        self.norm3 = nn.LayerNorm(channels)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, pointer_tokens: int, visible: Tensor | None
    ) -> Tensor:
        """X (1 or B, N, C), keys and values (B, M, memory_channels) -> (B, N, C).

        The image is the same for all objects until they look at their memories, so a batch of 1 is enough
        for x: it widens where the memories come in.
        """
        normed = self.norm1(x)
        x = add_linear(self.self_attn(normed, normed, normed), self.self_attn.out_proj, x)
        seen = self.cross_attn_image(self.norm2(x), keys, values, pointer_tokens, visible)
        x = add_linear(seen, self.cross_attn_image.out_proj, x.expand_as(seen))
        return add_feed_forward(self.norm3(x), self.linear1, self.linear2, "relu", x)


class MemoryAttention(nn.Module):
    """A stack of `MemoryAttentionLayer`."""

    def __init__(
        self, channels: int, memory_channels: int, feed_forward: int, depth: int, grid: tuple[int, int]
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            MemoryAttentionLayer(channels, memory_channels, feed_forward, grid) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(channels)

    def forward(
        self,
        image: Tensor,
        image_position: Tensor,
        memory: Tensor,
        memory_position: Tensor,
        pointer_tokens: int,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Look up the memories of B objects for one image, or for B images.

        Args:
            image: (1 or B, N, C) tokens of the image.
            image_position: (N, C) its position encoding; a tenth of it is added, as in SAM 2.
            memory: (B, M, memory_channels) whole grids of N tokens first, then the object pointers' tokens.
            memory_position: (B, M, memory_channels) position encoding of the memory, added to the keys alone.
            pointer_tokens: how many tokens at the end of the memory have no place in the image.
            visible: bool (B, M), the tokens of the memory that may be looked at; None: all.

        Returns: (B, N, C).
        """
        x = image + 0.1 * image_position
        keys = memory + memory_position
        for layer in self.layers:
            x = layer(x, keys, memory, pointer_tokens, visible)
        return self.norm(x)
