"""A compiled model says what it said before."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scene import red_box

from sam2_core import Prompt, Tracker, load_model
from sam2_core.compiling import compile_model


def test_compiling_everything_changes_no_mask(frame: Callable[[int], NDArray[np.uint8]]) -> None:
    model = load_model("sam2_nano", device="cpu", image_size=128, precision="float32")

    def logits() -> NDArray[np.float32]:
        tracker = Tracker(model)
        first = tracker.step(frame(0), [Prompt(1, box=red_box(0))])
        return np.stack([track.mask_logits for track in (*first, *tracker.step(frame(1)))])

    before = logits()
    assert compile_model(model, everything=True) > 0
    np.testing.assert_allclose(logits(), before, atol=1e-3, rtol=0)
