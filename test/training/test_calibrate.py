"""The predicted IoU is made honest on held-out videos, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sam2_core.configs import MODELS
from sam2_core.model import SAM2
from training.calibrate import HEAD, calibrated, fit, watch_videos
from training.photos import PhotoStore
from training.sight import Seen


def test_a_model_that_is_too_sure_of_itself_becomes_honest() -> None:
    rng = np.random.default_rng(0)
    true = rng.uniform(0.2, 0.9, 400)
    says = 1 / (1 + np.exp(-(2.0 * np.log(true / (1 - true)) + 1.0)))
    seen = [Seen(0, True, iou, score) for iou, score in zip(true, says, strict=True)]
    scale, shift = fit([*seen, *[Seen(0, False, 0.0, 0.9)] * 100])
    assert (scale, shift) == (pytest.approx(0.5, abs=0.03), pytest.approx(-0.5, abs=0.03))
    with pytest.raises(ValueError, match="no held-out frame shows an object"):
        fit([Seen(0, False, 0.0, 0.9)])


def test_only_the_head_changes_and_says_what_was_fitted() -> None:
    model = SAM2(replace(MODELS["sam2_nano"], image_size=64))
    weights = model.state_dict()
    changed = calibrated(weights, 0.5, -0.3)
    different = [name for name in weights if not torch.equal(weights[name], changed[name])]
    assert different == [f"{HEAD}.weight", f"{HEAD}.bias"]
    head, token = model.sam_mask_decoder.iou_prediction_head, torch.randn(3, 128)
    before = head(token)
    model.load_state_dict(changed)
    torch.testing.assert_close(head(token), torch.sigmoid(0.5 * torch.logit(before) - 0.3))


def test_held_out_videos_are_watched_from_end_to_end(prepared: Path) -> None:
    weights = SAM2(replace(MODELS["sam2_nano"], image_size=64)).state_dict()
    store = PhotoStore(prepared, "validation")
    assert len(store.labelled_videos) == 1
    seen = watch_videos(weights, store, 64)
    assert len(seen) == 3 * 9  # three kinds of prompt, ten frames without the first
