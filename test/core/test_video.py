"""Finished clips: the verbs of SAM 2's video predictor give its numbers, forwards and in reverse."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from reference_weights import reference_tensor
from scene import blue_box, draw, filled, overlap, red_box
from torch import Tensor
from video_script import SCRIPTS, SIZE, follow, write_frames

from sam2_core import MODELS, PromptError, VideoPredictor, load_model
from sam2_core.configs import SightConfig
from sam2_core.model import SAM2, VisionFeatures
from sam2_core.sources import SourceError

REFERENCE = Path(__file__).parents[1] / "reference" / "video_predictor.npz"
Frames = Callable[[int], NDArray[np.uint8]]


@lru_cache(maxsize=1)
def stand_in_model(name: str) -> SAM2:
    model = SAM2(replace(MODELS[name], image_size=SIZE))
    weights = {
        key: torch.from_numpy(reference_tensor(key, tuple(tensor.shape)))
        for key, tensor in model.state_dict().items()
    }
    weights["sam_mask_decoder.pred_obj_score_head.layers.2.bias"] += 5.0
    model.load_state_dict(weights)
    return model.eval()


RIM_LOGIT = 1e-3
RIM_PIXELS = 16
"""So near to zero a logit may fall to the other side by rounding alone, in so many pixels of a mask."""


def remember_as(model: SAM2, masks: NDArray[np.bool_], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pixels at the rim of a remembered mask fall to the side to which they fell in the original.

    The masks of prompted frames are remembered as bits, and where a logit is zero but for rounding, rounding
    decides. With the stand-in weights one such pixel moves later logits by more than the tolerance.
    """
    encode = SAM2.encode_memory

    def encoding(
        self: SAM2, vision: VisionFeatures, logits: Tensor, presence: Tensor, binarise: bool
    ) -> Tensor:
        if binarise:
            logits = F.interpolate(logits, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
            for ours in logits[:, 0].numpy():
                theirs = masks[(masks != (ours > 0)).sum(axis=(1, 2)).argmin()]
                other = theirs != (ours > 0)
                if other.sum() <= RIM_PIXELS and (np.abs(ours[other]) < RIM_LOGIT).all():
                    ours[other] *= -1
        return encode(self, vision, logits, presence, binarise)

    monkeypatch.setattr(SAM2, "encode_memory", encoding)


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_clip_gives_the_numbers_of_the_original(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = SCRIPTS[name]
    with np.load(REFERENCE) as reference:
        expected = {
            key.removeprefix(f"{name}: "): reference[key] for key in reference if key.startswith(name)
        }
    model = stand_in_model(script["model"])
    remember_as(model, np.unpackbits(expected.pop("remembered"), axis=-1).astype(bool), monkeypatch)
    predictor = VideoPredictor(model, script["corrections_count"])
    write_frames(tmp_path, script["frames"])
    found = follow(predictor, predictor.init_state(str(tmp_path)), script["steps"])
    assert found.keys() == expected.keys()
    for step in expected:
        np.testing.assert_allclose(found[step], expected[step], atol=5e-3, rtol=0, err_msg=step)


@pytest.fixture
def predictor(small_nano: SAM2) -> VideoPredictor:
    return VideoPredictor(small_nano)


def clip(count: int = 5) -> list[NDArray[np.uint8]]:
    return [draw(index) for index in range(count)]


def test_a_video_file_is_tracked_both_ways_from_its_middle(predictor: VideoPredictor, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(str(tmp_path / "a.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for image in clip(7):
        writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    writer.release()
    state = predictor.init_state(tmp_path / "a.avi")
    _, ids, masks = predictor.add_new_points_or_box(state, 3, "red", box=red_box(3))
    assert ids == ["red"] and masks.shape == (1, 1, 240, 320)
    assert overlap((masks[0, 0] > 0).numpy(), red_box(3)) > 0.8
    for reverse, frames in ((False, [3, 4, 5, 6]), (True, [3, 2, 1, 0])):
        done = []
        for frame, _, found in predictor.propagate_in_video(state, reverse=reverse):
            done.append(frame)
            assert overlap((found[0, 0] > 0).numpy(), red_box(frame)) > 0.75
        assert done == frames


def test_objects_keep_their_order_and_removing_one_touches_no_other(predictor: VideoPredictor) -> None:
    state, alone = predictor.init_state(clip()), predictor.init_state(clip())
    predictor.add_new_mask(state, 0, 9, filled(blue_box(0)))
    _, ids, masks = predictor.add_new_mask(state, 1, 4, filled(red_box(1)))
    assert ids == [9, 4] and (masks[0] == -1024).all(), "object 9 has no mask in frame 1 yet"
    left, shown_again = predictor.remove_object(state, 9)
    assert left == [4] and [frame for frame, _ in shown_again] == [0]
    predictor.add_new_mask(alone, 1, 4, filled(red_box(1)))
    for one, other in zip(
        predictor.propagate_in_video(state), predictor.propagate_in_video(alone), strict=True
    ):
        torch.testing.assert_close(one[2], other[2])


def test_what_is_out_of_sight_has_no_mask_until_it_is_prompted_again() -> None:
    model = load_model("sam2_nano", device="cpu", image_size=128)
    model.config = replace(model.config, sight=SightConfig(lost=1, found=1))  # nothing tracked is ever seen
    predictor = VideoPredictor(model)
    state = predictor.init_state(clip())
    predictor.add_new_points_or_box(state, 1, 1, box=red_box(1))

    def seen() -> dict[int, bool]:
        return {frame: bool((masks > -1024).any()) for frame, _, masks in predictor.propagate_in_video(state)}

    assert seen() == {1: True, 2: False, 3: False, 4: False}
    _, _, masks = predictor.add_new_points_or_box(state, 3, 1, box=red_box(3))
    assert overlap((masks[0, 0] > 0).numpy(), red_box(3)) > 0.75
    assert seen() == {1: True, 2: False, 3: True, 4: False}


def test_under_autocast_it_works_as_well(predictor: VideoPredictor) -> None:
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        state = predictor.init_state(clip(2))
        predictor.add_new_points_or_box(state, 0, 1, box=red_box(0))
        *_, (_, _, masks) = predictor.propagate_in_video(state)
    assert overlap((masks[0, 0] > 0).numpy(), red_box(1)) > 0.75


@pytest.mark.parametrize(
    ("frame", "obj_id", "message"),
    [
        (0.0, 1, "frame 0.0 is not a whole number: give 0 to 1"),
        (True, 1, "frame True is not a whole number"),
        (0, [1], r"object id \[1\] is a list: give a number or a text"),
        (0, torch.tensor(1), r"object id tensor\(1\) is a Tensor"),
    ],
)
def test_a_frame_is_a_number_and_an_id_a_key(
    predictor: VideoPredictor, frame: Any, obj_id: Any, message: str
) -> None:
    state = predictor.init_state(clip(2))
    with pytest.raises(PromptError, match=message):
        predictor.add_new_points_or_box(state, frame, obj_id, box=red_box(0))
    assert not state.obj_ids


@pytest.mark.parametrize(("dtype", "mark"), [("uint8", 7), ("int64", 255), ("float32", 1)])
def test_a_mask_may_come_in_other_numbers(predictor: VideoPredictor, dtype: str, mark: int) -> None:
    mask = filled(red_box(0))
    state, other = predictor.init_state(clip(1)), predictor.init_state(clip(1))
    expected = predictor.add_new_mask(state, 0, 1, mask)[2]
    assert torch.equal(predictor.add_new_mask(other, 0, 1, mask.astype(dtype) * mark)[2], expected)


def test_where_masks_overlap_the_higher_logit_wins_if_asked(small_nano: SAM2) -> None:
    predictor = VideoPredictor(small_nano, non_overlap_masks=True)
    state = predictor.init_state(clip(1))
    predictor.add_new_mask(state, 0, 1, filled((20, 60, 200, 120)))
    _, _, masks = predictor.add_new_mask(state, 0, 2, filled((100, 20, 250, 200)))
    assert not ((masks[0] > 0) & (masks[1] > 0)).any()


def test_what_was_said_is_taken_back_frame_by_frame_or_all_at_once(predictor: VideoPredictor) -> None:
    state = predictor.init_state(clip())
    predictor.add_new_points_or_box(state, 0, 1, points=[[50, 90]], labels=[1])
    predictor.clear_all_prompts_in_frame(state, 0, 1)
    with pytest.raises(RuntimeError, match="object 1 has no prompt"):
        next(predictor.propagate_in_video(state))
    predictor.reset_state(state)
    assert state.obj_ids == []
    with pytest.raises(RuntimeError, match="there is no object"):
        next(predictor.propagate_in_video(state))


def test_what_cannot_be_followed_changes_nothing(predictor: VideoPredictor, tmp_path: Path) -> None:
    state = predictor.init_state(clip())
    for match, prompt in {
        "frame 5 is not in the clip": {"frame_idx": 5, "box": red_box(0)},
        "lies outside the image of 320 x 240": {"frame_idx": 0, "points": [[320, 1]], "labels": [1]},
        "one label for every point": {"frame_idx": 0, "points": [[1, 1]]},
        "clear_old_points=True": {"frame_idx": 0, "box": red_box(0), "clear_old_points": False},
        "prompt is empty": {"frame_idx": 0},
        r"box has shape \(3,\)": {"frame_idx": 0, "box": [1, 2, 3], "normalize_coords": False},
        r"box has shape \(\)": {"frame_idx": 0, "box": 5},
        "box can't be read as numbers": {"frame_idx": 0, "box": "a"},
        "NaN or infinity in box": {"frame_idx": 0, "box": [None, 1, 2, 3]},
        "points can't be read as numbers .*inhomogeneous": {
            "frame_idx": 0,
            "points": [[1, 2], [3]],
            "labels": [1, 1],
        },
        "points can't be read as numbers .*'abc'": {"frame_idx": 0, "points": "abc", "labels": [1]},
    }.items():
        with pytest.raises(PromptError, match=match):
            predictor.add_new_points_or_box(state, obj_id=1, **prompt)
    with pytest.raises(PromptError, match="mask of 10 x 9 pixels"):
        predictor.add_new_mask(state, 0, 1, np.ones((9, 10), bool))
    for value in (-3.5, np.nan, 2):
        with pytest.raises(PromptError, match=f"mask holds {value}, .*: give mask > 0"):
            predictor.add_new_mask(state, 0, 1, np.where(filled(red_box(0)), 1, value))
    assert state.obj_ids == []
    assert predictor.remove_object(state, 1) == ([], [])
    with pytest.raises(RuntimeError, match="object 1 is unknown"):
        predictor.remove_object(state, 1, strict=True)
    with pytest.raises(SourceError, match="no such file or folder"):
        predictor.init_state(tmp_path / "nowhere.mp4")
    with pytest.raises(SourceError, match="frame 1 has 250 x 240 pixels"):
        ragged = predictor.init_state([draw(0), draw(1)[:, :250]])
        predictor.add_new_points_or_box(ragged, 1, 1, box=red_box(0))
