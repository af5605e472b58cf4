"""What the tests share: the embedded model and a small made-up video."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scene import draw

from sam2_core import load_model
from sam2_core.model import SAM2


@pytest.fixture(autouse=True)
def two_threads() -> None:
    """Two threads in every test, whatever the one before it set: the reference's numbers were made with two.

    Sums are rounded differently with another number, and where a mask's rim lies at a logit of 0 that decides
    a pixel of the remembered mask.
    """
    torch.set_num_threads(2)


@pytest.fixture(scope="session")
def nano() -> SAM2:
    """The embedded model, as shipped."""
    return load_model("sam2_nano", device="cpu")


@pytest.fixture(scope="session")
def small_nano() -> SAM2:
    """The embedded model at a size that is fast rather than good."""
    return load_model("sam2_nano", device="cpu", image_size=128)


@pytest.fixture(scope="session")
def frame() -> Callable[[int], NDArray[np.uint8]]:
    """Frame i of a video, 320 x 240: a red square moves right by 4 pixels, a blue one down by 2; `box`
    tells where.
    """
    return draw
