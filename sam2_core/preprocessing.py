"""From an image to the model's input, and from mask logits back to the image."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from .configs import PreprocessingConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_MEAN, _STD = np.array(IMAGENET_MEAN, np.float32), np.array(IMAGENET_STD, np.float32)
_NORMALISED = ((np.arange(256, dtype=np.float32)[:, None] / 255 - _MEAN) / _STD)[None]
"""What each byte of each channel becomes when it is normalised, (1, 256, 3)."""

_ENLARGE = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}


def check_image(image: NDArray[np.uint8]) -> None:
    """Refuse what is not an image.

    Raises:
        ValueError: it is not a uint8 array of shape (H, W, 3) with at least one pixel.
    """
    if not isinstance(image, np.ndarray):
        raise ValueError(f"image is a {type(image).__name__}: give a numpy array, uint8 RGB (H, W, 3)")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ValueError(f"image is {image.dtype} {image.shape}: give uint8 RGB (H, W, 3)")


def preprocess(
    image: NDArray[np.uint8], size: int, config: PreprocessingConfig, device: torch.device | str = "cpu"
) -> Tensor:
    """Resize an image to the model's square input and normalise it.

    Args:
        image: uint8 RGB (H, W, 3).
        size: side of the square, pixels.
        config: names the way of resizing: `bilinear` with antialiasing in floating point, as SAM 2's image
            predictor does it, or `area` on bytes.
        device: where to put the result.

    Returns: (1, 3, size, size) float32.

    Raises:
        ValueError: see `check_image`.
    """
    check_image(image)
    exact = image.shape[:2] == (size, size)
    if config.resize == "area":
        pixels = image if exact else cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
        normalised = np.asarray(cv2.LUT(np.ascontiguousarray(pixels), _NORMALISED))
        return torch.from_numpy(normalised).permute(2, 0, 1)[None].to(device)
    pixels = np.require(image, requirements=("C", "W"))  # torch warns of what it may not write to
    tensor = torch.from_numpy(pixels).to(device).permute(2, 0, 1)[None].float() / 255.0
    if not exact:
        tensor = F.interpolate(tensor, size=(size, size), mode="bilinear", antialias=True)
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=device).view(1, 3, 1, 1)
    return (tensor - mean) / std


def mask_input(mask: NDArray[np.bool_], size: int, device: torch.device | str = "cpu") -> Tensor:
    """Bring a mask to the model's square input. However small the object, some of it remains.

    Args:
        mask: bool (H, W).
        size: side of the square, pixels.
        device: where to put the result.

    Returns: (1, 1, size, size) float32 of 0 and 1.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(mask)).to(device)[None, None].float()
    if mask.shape == (size, size):
        return tensor
    resized = F.interpolate(tensor, size=(size, size), mode="bilinear", antialias=True)
    return (resized >= resized.max().clamp(max=0.5)).float()


def enlarge(
    logits: NDArray[np.float32], height: int, width: int, config: PreprocessingConfig
) -> NDArray[np.float32]:
    """Bring low-resolution logits (h, w) to the image's size (height, width)."""
    return cv2.resize(logits, (width, height), interpolation=_ENLARGE[config.enlarge])  # type: ignore[return-value]
