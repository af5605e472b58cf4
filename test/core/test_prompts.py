"""Prompts: what is right is taken, what is wrong is refused with the value and the way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from sam2_core import Prompt, PromptError


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "empty: give points, a box or a mask"),
        ({"points": []}, "points"),
        ({"points": np.zeros((0, 2))}, "no points"),
        ({"points": np.zeros((100_000, 2))}, "100000 points are too many"),
        ({"points": [[1, 2, 3]]}, r"shape \(1, 3\)"),
        ({"points": [[float("nan"), 2]]}, "NaN or infinity"),
        ({"points": [[float("inf"), 2]]}, "NaN or infinity"),
        ({"points": [["left", "right"]]}, "can't be read as numbers"),
        ({"points": [["1", "2"]]}, "can't be read as numbers"),
        ({"points": [[1 + 2j, 2]]}, "can't be read as numbers"),
        ({"points": [[1, 2], [3]]}, "can't be read as numbers"),
        ({"points": [[10**400, 2]]}, "can't be read as numbers"),
        ({"points": [torch.ones(2, requires_grad=True)]}, "can't be read as numbers"),
        ({"mask": [[1, 0], [1]]}, "mask can't be read as numbers"),
        ({"points": [[1, 2]], "labels": [2]}, "label 2 is unknown"),
        ({"points": [[1, 2]], "labels": [-1]}, "label -1 is unknown"),
        ({"points": [[1, 2]], "labels": [1, 0]}, "2 labels for 1 points"),
        ({"points": [[1, 2]], "labels": 1}, r"labels have shape \(\): give N labels"),
        ({"points": [[1, 2]], "labels": [[1]]}, r"labels have shape \(1, 1\): give N labels"),
        ({"labels": [1], "box": [0, 0, 5, 5]}, "labels without points"),
        ({"box": [40, 10, 20, 30]}, r"box \(40, 10, 20, 30\) has x_min >= x_max"),
        ({"box": [10, 30, 20, 30]}, "y_min >= y_max"),
        ({"box": [10, 30, 20]}, "box has shape"),
        ({"box": [10, 30, float("nan"), 40]}, "NaN or infinity"),
        ({"mask": np.ones((4, 4), bool), "box": [0, 0, 2, 2]}, "a mask comes alone"),
        ({"mask": np.ones((4, 4), bool), "points": [[0, 0]]}, "a mask comes alone"),
        ({"mask": np.zeros((4, 4), bool)}, "mask is empty"),
        ({"mask": np.ones((4, 4, 3), np.uint8)}, r"mask is uint8 \(4, 4, 3\)"),
        ({"mask": np.ones((4, 4), np.float32)}, "mask is float32"),
        ({"points": [[1, 2]], "label": 7}, "label 7 is a int"),
    ],
)
def test_a_prompt_that_can_never_be_right_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Prompt(1, **arguments)


@pytest.mark.parametrize("object_id", [0, 256, -3, 1.0, "1", True])
def test_an_object_id_is_a_whole_number_from_1_to_255(object_id: Any) -> None:
    with pytest.raises(PromptError, match="1 to 255"):
        Prompt(object_id, points=[[1, 2]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"points": [[640, 10]]}, r"point \(640, 10\) lies outside the image of 640 x 480"),
        ({"points": [[-1e-50, 10]]}, "lies outside"),
        ({"points": [[10, 10], [5, -0.5]]}, r"point \(5, -0.5\) lies outside"),
        ({"box": [640, 10, 700, 20]}, "does not touch the image"),
        ({"box": [-50, -50, -1, -1]}, "does not touch the image"),
        ({"mask": np.ones((640, 480), bool)}, "mask of 480 x 640 pixels for an image of 640 x 480"),
    ],
)
def test_a_prompt_that_does_not_fit_the_image_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        Prompt(1, **arguments).check_against(480, 640)


def test_a_point_just_inside_the_image_stays_inside() -> None:
    prompt = Prompt(1, points=[[639.99999999, 479.99999999], [0.1, 5]])
    prompt.check_against(480, 640)
    assert np.floor(prompt.points).tolist() == [[639, 479], [0, 5]]
    assert prompt.points[1, 0] == np.float32(0.1)


def test_a_tensor_that_gradients_flow_to_is_taken_like_any_other() -> None:
    points = torch.tensor([[1.0, 2.0]], requires_grad=True)
    assert Prompt(1, points=points).points.tolist() == [[1, 2]]


def test_a_tensor_of_a_kind_that_numpy_lacks_is_taken_like_any_other() -> None:
    points = Prompt(1, points=torch.tensor([[3.0, 4.0]], dtype=torch.bfloat16)).points
    assert points.tolist() == [[3, 4]]


def test_points_count_as_clicks_on_the_object_unless_labels_say_otherwise() -> None:
    assert Prompt(1, points=[[1, 2], [3, 4]]).labels.tolist() == [1, 1]


def test_a_box_comes_first_and_is_clipped_to_the_image() -> None:
    points, labels = Prompt(1, points=[[5, 6]], labels=[0], box=[-10, 5, 700, 20]).as_points(480, 640)
    assert points.tolist() == [[0, 5], [640, 20], [5, 6]]
    assert labels.tolist() == [2, 3, 0]
