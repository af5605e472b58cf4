"""Precision: fewer digits where they are fast, the same masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scene import red_box

from sam2_core import MODELS, Prompt, Tracker, load_model, loading
from sam2_core.discovery import mask_iou
from sam2_core.loading import computes_in_bfloat16, make_ready
from sam2_core.model import SAM2

Frame = Callable[[int], NDArray[np.uint8]]
TINY = replace(MODELS["sam2.1_hiera_tiny"], image_size=128)


def test_sam2_nano_takes_bfloat16_where_the_processor_has_it(nano: SAM2) -> None:
    assert nano.precision == (torch.bfloat16 if computes_in_bfloat16() else torch.float32)
    assert nano.sam_mask_decoder.iou_prediction_head.layers[0].weight.dtype == torch.float32


def test_official_models_keep_the_originals_numbers() -> None:
    model = make_ready(SAM2(TINY), "cpu")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(ValueError, match="precision 'int8' is unknown: choose from auto, float32, bfloat16"):
        load_model("sam2.1_hiera_large", "/nowhere/weights.pt", precision="int8")
    with pytest.raises(ValueError, match="precision 'half' is unknown"):
        make_ready(SAM2(TINY), "cpu", "half")


@pytest.mark.parametrize("knows", [True, False])
def test_bfloat16_on_a_processor_that_has_it_not_is_warned_of(
    knows: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(loading, "computes_in_bfloat16", lambda: knows)
    make_ready(SAM2(TINY), "cpu", "bfloat16")
    assert ("give auto or float32" in caplog.text) != knows


def test_bfloat16_gives_the_masks_of_float32(frame: Frame) -> None:
    tracks = {}
    for precision in ("float32", "bfloat16"):
        tracker = Tracker(load_model("sam2_nano", device="cpu", precision=precision))
        tracker.step(frame(0), [Prompt(1, box=red_box(0))])
        tracks[precision] = [tracker.step(frame(i))[0] for i in range(1, 6)]
    for one, other in zip(*tracks.values(), strict=True):
        assert one.mask.any()
        assert mask_iou(one.mask, other.mask) > 0.95
        assert other.score == pytest.approx(one.score, abs=0.05)


def test_what_is_remembered_and_decoded_keeps_its_digits(frame: Frame) -> None:
    model = load_model("sam2_nano", device="cpu", image_size=128, precision="bfloat16")
    tracker = Tracker(model)
    features = tracker.encode(frame(0))
    assert features.vision.embedding.dtype == torch.float32
    tracker.step(frame(0), [Prompt(1, box=red_box(0))])
    [entry] = tracker.snapshot()[1].bank.entries
    assert entry.features is not None
    assert entry.features.dtype == torch.float32


def test_official_architectures_compute_in_bfloat16_on_request(frame: Frame) -> None:
    torch.manual_seed(0)
    exact = make_ready(SAM2(TINY), "cpu")
    fast = SAM2(exact.config)
    fast.load_state_dict(exact.state_dict())
    embeddings = [
        Tracker(model).encode(frame(0)).vision.embedding
        for model in (exact, make_ready(fast, "cpu", "bfloat16"))
    ]
    assert torch.nn.functional.cosine_similarity(*(e.flatten() for e in embeddings), dim=0) > 0.999
    tracker = Tracker(fast)
    tracker.step(frame(0), [Prompt(1, box=red_box(0))])
    assert len(tracker.step(frame(1))) == 1
