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


@pytest.fixture(scope="session", autouse=True)
def few_threads() -> None:
    """Two threads at most, so that figures and loads are alike on every machine."""
    torch.set_num_threads(min(2, torch.get_num_threads()))


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
