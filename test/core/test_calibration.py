"""Predicted IoU is compared with the true one, presence with the truth."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam2_core.calibration import Calibration, plot_calibration
from sam2_core.evaluation_results import Outcome


def outcome(score: float, iou: float, presence: float = 0.9, present: bool = True) -> Outcome:
    return Outcome("00001", 1, present, iou, score, presence)


def test_errors_are_those_of_the_definition() -> None:
    # Bin 0.9 to 1: two frames, 0.95 said, 0.7 true; bin 0.2 to 0.3: one frame, 0.25 said, 0.35 true.
    found = Calibration.of([outcome(0.95, 0.6), outcome(0.95, 0.8), outcome(0.25, 0.35)])
    assert found.expected_error == pytest.approx((2 * 0.25 + 1 * 0.1) / 3)
    assert found.mean_absolute_error == pytest.approx((0.35 + 0.15 + 0.1) / 3)
    rows = found.bins()
    assert [count for count, _, _ in rows] == [0, 0, 1, 0, 0, 0, 0, 0, 0, 2]
    assert rows[9][1:] == pytest.approx((0.95, 0.7))
    assert math.isnan(rows[0][1])


def test_an_honest_tracker_has_no_expected_error_and_one_falls_into_the_last_bin() -> None:
    found = Calibration.of([outcome(value, value) for value in (0.0, 0.31, 0.5, 1.0)])
    assert found.expected_error == pytest.approx(0)
    assert found.bins()[9] == (1, 1.0, 1.0)


def test_frames_without_the_object_count_for_presence_only() -> None:
    found = Calibration.of([outcome(0.8, 0.7, 0.9), outcome(0.1, 0, 0.2, False), outcome(0.1, 0, 0.9, False)])
    assert len(found.predicted) == 1
    assert found.separation == pytest.approx(0.75), "above one of them, level with the other"
    figures = found.figures()
    assert figures["frames without"] == 2
    assert figures["mean presence without"] == pytest.approx(0.55)


def test_masks_from_elsewhere_say_nothing_of_themselves(tmp_path: Path) -> None:
    found = Calibration.of([Outcome("00001", 1, True, 0.5)])
    assert math.isnan(found.expected_error)
    assert math.isnan(found.separation)
    plot_calibration(tmp_path / "empty.png", {"nothing": found})
    assert cv2.imread(str(tmp_path / "empty.png")) is not None


def test_the_plot_has_a_column_per_group(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    found = Calibration.of(
        outcome(score, score * random.random(), random.random(), random.random() < 0.8)
        for score in random.random(50)
    )
    plot_calibration(tmp_path / "one.png", {"mask": found})
    plot_calibration(tmp_path / "two.png", {"mask": found, "box": found})
    one, two = (cv2.imread(str(tmp_path / name)) for name in ("one.png", "two.png"))
    assert two.shape[1] == pytest.approx(2 * one.shape[1], abs=2)
