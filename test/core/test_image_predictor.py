"""Still images: the numbers of the original, one prompt or many, one image or several."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from reference_weights import reference_frame, reference_tensor
from scene import blue_box, red_box

from sam2_core import MODELS, ImagePredictor, PromptError
from sam2_core.model import SAM2

REFERENCE = Path(__file__).parents[1] / "reference"
Frames = Callable[[int], NDArray[np.uint8]]
SIDE = MODELS["sam2_nano"].image_size // 4
"""Of sam2_nano's low-resolution masks."""


def test_predictions_equal_those_of_the_original() -> None:
    model = SAM2(replace(MODELS["sam2.1_hiera_tiny"], image_size=1024)).eval()
    state = {
        key: torch.from_numpy(reference_tensor(key, tuple(t.shape))) for key, t in model.state_dict().items()
    }
    state["sam_mask_decoder.pred_obj_score_head.layers.2.bias"] += 5.0
    model.load_state_dict(state)
    predictor = ImagePredictor(model)
    predictor.set_image(reference_frame(0, 1024)[:768])
    expected = np.load(REFERENCE / "image_predictor_tiny21.npz")
    prompts = {
        "point": {"points": [[307.0, 410.0]], "labels": [1], "multimask_output": True},
        "box": {"box": [184.0, 287.0, 430.0, 532.0], "multimask_output": False},
    }
    for name, prompt in prompts.items():
        masks, scores, low = predictor.predict(**prompt, return_logits=True)
        np.testing.assert_allclose(masks[:, ::8, ::8], expected[f"{name}_masks"], atol=5e-3, rtol=0)
        np.testing.assert_allclose(scores, expected[f"{name}_ious"], atol=5e-3, rtol=0)
        np.testing.assert_allclose(low[:, ::4, ::4], expected[f"{name}_low_res"], atol=5e-3, rtol=0)


def test_shapes_are_those_of_the_image(nano: SAM2, frame: Frames) -> None:
    predictor = ImagePredictor(nano)
    predictor.set_image(frame(0))
    masks, scores, low = predictor.predict(points=[[50, 90]])
    assert masks.shape == (3, 240, 320) and masks.dtype == bool
    assert scores.shape == (3,) and low.shape == (3, SIDE, SIDE)
    assert predictor.predict(box=red_box(0), multimask_output=False)[0].shape == (1, 240, 320)


def test_several_boxes_at_once_equal_each_alone(nano: SAM2, frame: Frames) -> None:
    predictor = ImagePredictor(nano)
    predictor.set_image(frame(0))
    boxes = [red_box(0), blue_box(0), (10, 10, 200, 200)]
    together = predictor.predict(box=boxes, multimask_output=False, return_logits=True)
    for row, box in enumerate(boxes):
        alone = predictor.predict(box=box, multimask_output=False, return_logits=True)
        np.testing.assert_allclose(together[0][row], alone[0], atol=1e-3)
    assert together[0].shape == (3, 1, 240, 320) and together[1].shape == (3, 1)


def test_a_mask_goes_back_in_to_be_refined(nano: SAM2, frame: Frames) -> None:
    predictor = ImagePredictor(nano)
    predictor.set_image(frame(0))
    _, scores, low = predictor.predict(points=[[50, 90]])
    best = low[scores.argmax()][None]
    again, _, _ = predictor.predict(points=[[50, 90]], mask_input=best, multimask_output=False)
    only_mask, _, _ = predictor.predict(mask_input=best, multimask_output=False)
    assert again.shape == only_mask.shape == (1, 240, 320)


@pytest.mark.parametrize("stacked", [False, True])
def test_images_of_a_batch_equal_each_alone(nano: SAM2, frame: Frames, stacked: bool) -> None:
    batch, alone = ImagePredictor(nano), ImagePredictor(nano)
    images = np.stack([frame(0), frame(5)]) if stacked else [frame(0), frame(5)[:200, :250]]
    batch.set_images(images)
    for number, image in enumerate(images):
        alone.set_image(image)
        expected = alone.predict(points=[[60, 90]], return_logits=True)[0]
        np.testing.assert_allclose(
            batch.predict(points=[[60, 90]], return_logits=True, image=number)[0], expected, atol=1e-3
        )


def test_what_cannot_be_followed_is_refused(nano: SAM2, frame: Frames) -> None:
    predictor = ImagePredictor(nano)
    with pytest.raises(RuntimeError, match="call set_image first"):
        predictor.predict(points=[[1, 1]])
    predictor.set_image(frame(0))
    for prompt, message in (
        ({}, "empty"),
        ({"labels": [1]}, "labels without points"),
        ({"points": [[999, 1]]}, "outside the image"),
        ({"mask_input": np.zeros((1, 8, 8))}, rf"give logits \(1, {SIDE}, {SIDE}\)"),
        ({"mask_input": np.zeros((0, 1, SIDE, SIDE))}, "nothing in mask input of shape"),
        ({"mask_input": np.full((1, SIDE, SIDE), np.inf)}, "NaN or infinity in mask input"),
        ({"points": np.zeros((2, 1, 2)), "box": [red_box(0)] * 3}, "points of 2 prompts beside 3"),
        ({"points": np.zeros((2, 1, 2)), "labels": [[1]] * 3}, "labels of 3 prompts beside 2"),
        ({"points": np.zeros((0, 1, 2))}, r"nothing in points of shape \(0, 1, 2\)"),
        ({"box": np.zeros((0, 4))}, r"nothing in box of shape \(0, 4\)"),
        ({"mask_input": np.zeros((2, 1, SIDE, SIDE)), "box": [red_box(0)] * 3}, "2 mask inputs beside"),
        ({"points": [[[1, 1]], [[2, 2], [3, 3]]]}, "points can't be .* as many to each prompt"),
        ({"points": [[[1, 1]], [[2, 2]]], "labels": [[1], [1, 0]]}, "labels can't be .* as many to each"),
        ({"points": [[1, 1]], "image": 4}, "image 4 was not set"),
    ):
        with pytest.raises(PromptError, match=message):
            predictor.predict(**prompt)  # type: ignore[arg-type]
