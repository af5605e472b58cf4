"""The benchmark of late prompts: with its stamp a late prompt does what one that came at once does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from scene import filled, red_box

from sam2_core.cli import main
from sam2_core.commands import late_clicks
from sam2_core.datasets import find_sequences
from sam2_core.model import SAM2

COUNT = 16


@pytest.fixture
def squares(frame: Callable[[int], NDArray[np.uint8]], tmp_path: Path) -> Path:
    """A folder with one video, in which the red square is annotated."""
    for folder in ("JPEGImages/squares", "Annotations/squares"):
        (tmp_path / folder).mkdir(parents=True)
    for index in range(COUNT):
        cv2.imwrite(str(tmp_path / f"JPEGImages/squares/{index:05d}.jpg"), frame(index)[..., ::-1])
        mask = filled(red_box(index)).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"Annotations/squares/{index:05d}.png"), 255 * mask)
    return tmp_path


def test_a_late_prompt_is_worth_as_much_as_a_prompt_at_once_if_it_has_its_stamp(
    small_nano: SAM2, squares: Path
) -> None:
    [sequence] = find_sequences(squares)
    scores = late_clicks.measure(small_nano, sequence, ages=(4, 10, 40), kind="mask")
    assert [(score.age, score.images) for score in scores] == [(4, COUNT - 6), (10, COUNT - 12)]
    for score in scores:
        assert score.stamped == pytest.approx(score.at_once, abs=0.01)
        assert score.seconds > 0
    assert scores[-1].unstamped < scores[-1].stamped - 0.1


def test_what_can_not_be_measured_is_told(squares: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "late-clicks", str(squares), "--ages", "40", "--image-size", "64"]) == 2
    assert "no video is longer than 42 images" in capsys.readouterr().err
    assert main(["benchmark", "absences", str(squares)]) == 2
    assert "no video is as long as 40 images" in capsys.readouterr().err


def test_an_object_that_is_not_in_the_first_image_is_left_out(squares: Path, small_nano: SAM2) -> None:
    [sequence] = find_sequences(squares)
    known = len(late_clicks.measure(small_nano, sequence, ages=(2,)))
    first = sequence.annotations[""][sequence.frames[0].stem]
    cv2.imwrite(str(first), np.zeros((240, 320), np.uint8))
    assert known > 0
    assert late_clicks.measure(small_nano, sequence, ages=(2,)) == []
