"""Arithmetic that is done another way than it is written down gives the same numbers."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sam2_core.configs import MODELS
from sam2_core.model.layers import LayerNorm2d
from sam2_core.preprocessing import IMAGENET_MEAN, IMAGENET_STD, preprocess

NANO = MODELS["sam2_nano"].preprocessing


@pytest.mark.parametrize("shape", [(48, 64), (32, 32)])
def test_an_image_is_normalised_after_it_was_resized(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    pixels = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA) / 255
    expected = ((pixels - IMAGENET_MEAN) / IMAGENET_STD).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(preprocess(image, 32, NANO).numpy(), expected, atol=1e-5)


def test_both_ways_of_resizing_normalise_alike() -> None:
    image = np.arange(256 * 3, dtype=np.uint8).reshape(16, 16, 3)
    other = preprocess(image, 16, replace(NANO, resize="bilinear"))
    np.testing.assert_allclose(preprocess(image, 16, NANO), other, atol=1e-6)


def test_an_image_that_is_a_mirrored_view_is_read_as_it_looks() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    for size in (40, 32):
        seen = preprocess(image[:, ::-1], size, NANO)
        np.testing.assert_array_equal(seen, preprocess(image[:, ::-1].copy(), size, NANO))


@pytest.mark.parametrize("channels", [2, 4, 5, 16])
def test_a_map_of_any_number_of_channels_is_normalised_pixel_by_pixel(channels: int) -> None:
    torch.manual_seed(0)
    norm = LayerNorm2d(channels)
    norm.weight.data.uniform_(-2, 2)
    norm.bias.data.uniform_(-2, 2)
    x = 5 * torch.randn(2, channels, 6, 7)
    expected = F.layer_norm(x.permute(0, 2, 3, 1), (channels,), norm.weight, norm.bias, 1e-6)
    torch.testing.assert_close(norm(x), expected.permute(0, 3, 1, 2), atol=1e-5, rtol=1e-5)
