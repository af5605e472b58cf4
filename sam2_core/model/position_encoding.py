"""Positions as numbers the network can use: sines on a grid, in time, and of random frequencies."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

TEMPERATURE = 10_000.0  # Vaswani et al., Attention Is All You Need, 2017, section 3.5


def _wavelengths(count: int, device: torch.device | None = None) -> Tensor:
    """(count,) divisors of the sine encoding; neighbours share one, a sine and a cosine."""
    pair = torch.arange(count, dtype=torch.float32, device=device) // 2
    return TEMPERATURE ** (2 * pair / count)


def sine_grid(height: int, width: int, channels: int) -> Tensor:
    """Sine encoding of the pixels of a grid (Carion et al., DETR, 2020, appendix A.4).

    Returns: (channels, height, width); the first half of the channels tells y, the second x. Coordinates
    count from 1 and are scaled so that the last one is 2 pi.
    """
    divisors = _wavelengths(channels // 2)

    def encode(length: int) -> Tensor:
        positions = torch.arange(1, length + 1, dtype=torch.float32)
        phase = (positions / (length + 1e-6) * 2 * math.pi)[:, None] / divisors
        return torch.stack((phase[:, 0::2].sin(), phase[:, 1::2].cos()), dim=2).flatten(1)

    y = encode(height)[:, None, :].expand(height, width, -1)
    x = encode(width)[None, :, :].expand(height, width, -1)
    return torch.cat((y, x), dim=2).permute(2, 0, 1).contiguous()


def sine_time(positions: Tensor, channels: int) -> Tensor:
    """Sine encoding of points in time.

    Args:
        positions: (...,) distances, already divided by their scale.
        channels: how many numbers describe one position.

    Returns: (..., channels): sines first, cosines after.
    """
    phase = positions[..., None] / _wavelengths(channels // 2, positions.device)
    return torch.cat((phase.sin(), phase.cos()), dim=-1)


class RandomFourierPositions(nn.Module):
    """Positions through a fixed random matrix (Tancik et al., Fourier Features, 2020), as SAM encodes
    prompts.
    """

    positional_encoding_gaussian_matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, channels // 2))

    def forward(self, coordinates: Tensor) -> Tensor:
        """(..., 2) coordinates x, y in 0..1 -> (..., channels)."""
        phase = 2 * math.pi * ((2 * coordinates - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat((phase.sin(), phase.cos()), dim=-1)

    def grid(self, height: int, width: int) -> Tensor:
        """Encoding of the pixel centres of a grid. Returns: (1, channels, height, width)."""
        device = self.positional_encoding_gaussian_matrix.device
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) / height
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) / width
        centres = torch.stack((x.expand(height, width), y[:, None].expand(height, width)), dim=-1)
        return self(centres).permute(2, 0, 1)[None]
