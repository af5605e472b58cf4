"""The mask decoder's two-way transformer: tokens look at the image, the image looks at the tokens."""

from __future__ import annotations

from torch import Tensor, nn

from .layers import MLP
from .rope_attention import Attention


class TwoWayAttentionBlock(nn.Module):
    """Self-attention of the tokens, tokens to image, feed-forward, image to tokens."""

    def __init__(self, channels: int, heads: int, feed_forward: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attn = Attention(channels, heads)
        self.norm1 = nn.LayerNorm(channels)
        self.cross_attn_token_to_image = Attention(channels, heads, downsample_rate=2)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels, feed_forward, channels, depth=2)
        self.norm3 = nn.LayerNorm(channels)
        self.norm4 = nn.LayerNorm(channels)
        self.cross_attn_image_to_token = Attention(channels, heads, downsample_rate=2)

    def forward(
        self, tokens: Tensor, image: Tensor, token_position: Tensor, image_position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, C), image (B, N, C), and their positions -> tokens and image of the same shapes."""
        if self.first:  # here the tokens are their own position encoding
            tokens = self.self_attn(tokens, tokens, tokens)
        else:
            placed = tokens + token_position
            tokens = tokens + self.self_attn(placed, placed, tokens)
        tokens = self.norm1(tokens)
        placed_image = image + image_position
        tokens = tokens + self.cross_attn_token_to_image(tokens + token_position, placed_image, image)
        tokens = self.norm2(tokens)
        tokens = self.norm3(tokens + self.mlp(tokens))
        image = image + self.cross_attn_image_to_token(placed_image, tokens + token_position, tokens)
        return tokens, self.norm4(image)


class TwoWayTransformer(nn.Module):
    """Two blocks and a last look of the tokens at the image."""

    def __init__(self, channels: int, heads: int, feed_forward: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TwoWayAttentionBlock(channels, heads, feed_forward, first=number == 0) for number in range(2)
        )
        self.final_attn_token_to_image = Attention(channels, heads, downsample_rate=2)
        self.norm_final_attn = nn.LayerNorm(channels)

    def forward(self, tokens: Tensor, image: Tensor, image_position: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (B, T, C), image (B, N, C), image_position (1, N, C) -> tokens, image."""
        position = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, position, image_position)
        attended = self.final_attn_token_to_image(tokens + position, image + image_position, image)
        return self.norm_final_attn(tokens + attended), image
